// The page: reads the settings, computes the plan, shows it. The languages and the plan as made lie in the element `data`.

const data = JSON.parse(document.getElementById("data").textContent);
const languages = data.languages.map(([code, name, count, available, group]) => ({ code, name, count, available, group }));
const tokensKnown = languages.some((language) => language.available !== null);
const OFTEN = data.often; // epochs; repeated more often, text is worth ever less
const FIRST_ROWS = 200; // more are shown on request

let settings = { ...data.settings };
let selected = 0;
let sorting = { column: "rank", descending: false };
let allRows = false;
let plan;
let width = 0; // of the charts, in pixels

const $ = (id) => document.getElementById(id);

function update() {
  plan = computePlan(languages, settings, data);
  showSettings();
  showGroups();
  showCharts();
  showTable();
  showCommand();
}

// In the next frame, and once in it, however fast a slider moves.
const waiting = new Set();
function soon(task) {
  if (waiting.size === 0) {
    requestAnimationFrame(() => {
      const tasks = [...waiting];
      waiting.clear();
      tasks.forEach((run) => run());
    });
  }
  waiting.add(task);
}

// --- settings -------------------------------------------------------------------------------------------------------

function showSettings() {
  const { strategy } = settings;
  $("alpha").disabled = $("alpha-exact").disabled = !["two-stage", "alpha"].includes(strategy);
  $("curve").disabled = strategy !== "two-stage";
  $("cap").disabled = !tokensKnown && strategy !== "unimax" && settings.cap === null; // one that is there can be taken back
  $("cap").placeholder = strategy === "unimax" ? data.unimaxCap : "none";
  const wrong = [...document.querySelectorAll("#settings [aria-invalid=true]:enabled")].map((field) => field.dataset.wanted);
  if (wrong.length) wrong.push("Shown with the last value that was.");
  if (plan.problem) wrong.push(describeProblem(plan, settings, data), plan.cap === null ? "" : "Shown without the cap.");
  setText($("problem"), wrong.join(" "));
  $("problem").hidden = wrong.length === 0;
  $("copy").disabled = $("copy-below").disabled = wrong.length > 0;
  $("as-made").disabled = wrong.length === 0 && sameSettings();
  $("state").textContent = describePlan(languages, plan);
  announce($("state").textContent);
}

function sameSettings() {
  return Object.keys(data.settings).every((key) => settings[key] === data.settings[key]);
}

function fillSettings() {
  $("strategy").value = settings.strategy;
  $("curve").value = settings.curve;
  $("alpha").value = $("alpha-exact").value = settings.alpha;
  $("budget").value = settings.budget === null ? "" : amountToType(settings.budget);
  $("cap").value = settings.cap ?? "";
  for (const id of ["alpha-exact", "budget", "cap"]) $(id).removeAttribute("aria-invalid");
}

function amountToType(value) {
  const found = [["T", 1e12], ["B", 1e9], ["M", 1e6]].find(([, unit]) => value >= unit && value / unit * unit === value);
  return found && String(value / found[1]).length < 6 ? `${value / found[1]}${found[0]}` : String(value);
}

// A field's value goes into the settings if it will do; if not, the field says so and the settings stay.
function take(id, key, read, fits) {
  $(id).addEventListener("input", () => {
    const value = read($(id));
    const good = fits(value);
    $(id).removeAttribute("aria-invalid");
    if (!good) $(id).setAttribute("aria-invalid", "true");
    else settings[key] = value;
    if (good && key === "alpha") $(id === "alpha" ? "alpha-exact" : "alpha").value = value;
    if (good && id === "alpha") $("alpha-exact").removeAttribute("aria-invalid");
    soon(update);
  });
}

function listenToSettings() {
  const number = (field) => (field.validity.badInput ? NaN : field.value === "" ? null : Number(field.value));
  take("strategy", "strategy", (field) => field.value, Boolean);
  take("curve", "curve", (field) => field.value, Boolean);
  take("alpha", "alpha", (field) => Number(field.value), () => true);
  take("alpha-exact", "alpha", number, (value) => value !== null && Number.isFinite(value));
  take("budget", "budget", (field) => parseTokens(field.value), (value) => value === null || value > 0);
  take("cap", "cap", number, (value) => value === null || value > 0);
  $("as-made").addEventListener("click", () => {
    settings = { ...data.settings };
    fillSettings();
    update();
    $("strategy").focus();
  });
}

// For screen readers: the last state, once the hand rests.
let speaking = 0;
function announce(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => ($("spoken").textContent = text), 700);
}

// --- groups and charts ----------------------------------------------------------------------------------------------

function showGroups() {
  const groups = sumGroups(plan, languages, data.groups).filter((group) => group.languages);
  const widest = Math.max(...groups.flatMap(({ raw, share }) => [raw, share]));
  const rows = groups.map((group) => {
    const bars = make("td", { class: "bars" }, ...[["raw", group.raw], ["share", group.share]].map(([kind, share]) => {
      const bar = make("span", { class: kind });
      bar.style.width = `${(100 * share) / widest}%`;
      return bar;
    }));
    const meaning = `${languageCount(group.languages)}, ${group.meaning}`;
    const figures = [percent(group.raw), percent(group.share), times(group.share / group.raw),
      orUnknown(group.epochs, two)];
    return make("tr", {}, make("th", { scope: "row" }, group.name, make("small", {}, meaning)),
      ...figures.map((text, at) => make("td", { class: at === 2 ? "number change" : "number" }, text)), bars);
  });
  $("groups-rows").replaceChildren(...rows);
}

function showCharts() {
  drawCounts($("counts-chart"), width, languages, plan, selected);
  drawShares($("shares-chart"), width, languages, plan, selected);
  const known = plan.epochs.some((epochs) => epochs !== null);
  $("epochs-known").hidden = !known;
  $("epochs-unknown").hidden = known;
  $("epochs-no-tokens").hidden = tokensKnown;
  $("epochs-no-budget").hidden = !tokensKnown;
  if (known) drawEpochs($("epochs-chart"), width, languages, plan, selected, plan.problem ? null : plan.cap);
  $("counts-legend").hidden = !plan.line;
  $("line").textContent = describeLine(plan, settings, data.unit);
  const said = describeLanguage(languages[selected], plan, selected, data.unit);
  for (const [chart, text] of Object.entries(said)) {
    const { code, name } = languages[selected];
    $(`${chart}-said`).replaceChildren(make("b", {}, make("bdi", {}, name === code ? code : `${name} (${code})`)), `: ${text}`);
    $(`${chart}-chart`).setAttribute("aria-valuenow", selected + 1);
    $(`${chart}-chart`).setAttribute("aria-valuetext", `${isolated(name)}: ${text}`);
  }
}

// A chart is a slider over the languages: pointer, touch and arrow keys choose the one that is spoken of.
function listenToChart(svg) {
  svg.setAttribute("aria-valuemin", 1);
  svg.setAttribute("aria-valuemax", languages.length);
  const point = (event) => choose(svg.rankAt(event.clientX - svg.getBoundingClientRect().left));
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10,
      Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose(Math.min(Math.max(selected + steps[event.key], 0), languages.length - 1));
  });
}

function choose(index) {
  if (index === selected) return;
  selected = index;
  soon(showCharts);
}

// --- table ----------------------------------------------------------------------------------------------------------

const columns = {
  rank: { value: (i) => i + 1, show: String },
  name: { value: (i) => languages[i].name },
  count: { value: (i) => languages[i].count, show: amount },
  fitted: { value: (i) => (plan.line ? plan.fitted[i] : null), show: amount },
  raw: { value: (i) => plan.raw[i], show: percent },
  share: { value: (i) => plan.shares[i], show: percent },
  ratio: { value: (i) => (plan.raw[i] ? plan.shares[i] / plan.raw[i] : null), show: times },
  available: { value: (i) => languages[i].available, show: amount },
  tokens: { value: (i) => plan.tokens[i], show: amount },
  epochs: { value: (i) => plan.epochs[i], show: (value) => two(value) },
};
const rows = new Map(); // index → its row, made when first shown

function showTable() {
  const found = search($("search").value);
  const { value } = columns[sorting.column];
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en") : a - b);
  const keyed = found.map((i) => [i, value(i)]).sort(([i, a], [j, b]) => {
    if (a === null || b === null) return (a === null) - (b === null) || i - j; // what is unknown stands last
    return (sorting.descending ? compare(b, a) : compare(a, b)) || i - j;
  });
  const shown = (allRows ? keyed : keyed.slice(0, FIRST_ROWS)).map(([i]) => i);
  const body = $("languages-rows");
  const wanted = shown.map(fillRow);
  if (wanted.length !== body.children.length || wanted.some((row, at) => row !== body.children[at])) {
    body.replaceChildren(...wanted);
  }
  const rest = keyed.length - shown.length;
  $("more").hidden = rest === 0;
  $("more").textContent = `Show ${rest} more`;
  const what = (found.length < languages.length ? `${whole(found.length)} of ` : "") + languageCount(languages.length);
  setText($("found"), what);
  return shown;
}

function fillRow(i) {
  if (!rows.has(i)) {
    const { code, name } = languages[i];
    const title = make("th", { scope: "row" }, make("bdi", {}, name));
    if (name !== code) title.append(" ", make("code", {}, make("bdi", {}, code)));
    const cells = Object.keys(columns).map((key) => (key === "name" ? title : make("td", { class: "number" })));
    rows.set(i, make("tr", {}, ...cells));
  }
  const row = rows.get(i);
  Object.entries(columns).forEach(([key, { value, show }], at) => {
    if (key === "name") return;
    const number = value(i);
    setText(row.cells[at], number === null ? "–" : show(number));
  });
  const held = plan.limited.has(i);
  row.className = held ? "held" : isOften(plan.epochs[i]) ? "often" : "";
  return row;
}

const withoutMarks = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const searchable = languages.map(({ code, name }) => withoutMarks(`${code} ${name}`));

function search(text) {
  const wanted = withoutMarks(text.trim());
  return [...languages.keys()].filter((i) => searchable[i].includes(wanted));
}

function listenToTable() {
  for (const head of document.querySelectorAll("#languages th[data-column]")) {
    head.firstElementChild.addEventListener("click", () => {
      const { column } = head.dataset;
      const numbers = !["rank", "name"].includes(column);
      sorting = { column, descending: sorting.column === column ? !sorting.descending : numbers };
      for (const other of document.querySelectorAll("#languages th[aria-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sorting.descending ? "descending" : "ascending");
      showTable();
    });
  }
  $("search").addEventListener("input", () => {
    const shown = showTable();
    if ($("search").value.trim() && shown.length) choose(shown[0]);
  });
  $("more").addEventListener("click", () => {
    allRows = true;
    showTable();
  });
}

// --- command --------------------------------------------------------------------------------------------------------

function showCommand() {
  if (!$("output").dataset.own) $("output").value = outputFolder();
  $("command-text").textContent = command();
}

// The folder that this page lies in; for other settings a new one beside it.
function outputFolder() {
  const own = location.protocol === "file:" ? decoded(location.pathname).replace(/\/[^/]*$/, "") : "plan";
  const changed = Object.keys(settings).filter((key) => settings[key] !== data.settings[key]);
  return own + changed.map((key) => `-${key}-${settings[key] ?? "none"}`.replace(/-(strategy|curve)-/, "-")).join("");
}

function decoded(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // bytes that are not UTF-8: for the person to write out
  }
}

function command() {
  const { strategy, alpha, curve, budget, cap } = settings;
  const words = [data.command, "--output", shellQuoted($("output").value || "plan"), "--strategy", strategy];
  if (["two-stage", "alpha"].includes(strategy)) words.push("--alpha", String(alpha));
  if (strategy === "two-stage") words.push("--curve", curve);
  if (budget !== null) words.push("--budget-tokens", String(budget));
  if (cap !== null) words.push("--max-epochs", String(cap));
  return words.join(" ");
}

async function copyCommand(event) {
  const button = event.currentTarget;
  try {
    await navigator.clipboard.writeText(command());
    $("copied").textContent = "Copied.";
    button.textContent = "Copied ✓";
  } catch {
    getSelection().selectAllChildren($("command-text")); // no permission: ready for the person's own hand
    $("command-text").scrollIntoView({ block: "center" });
    $("copied").textContent = "The browser did not allow it; the command is selected: press Ctrl+C or ⌘C.";
  }
  setTimeout(() => (button.textContent = "Copy command"), 2000);
}

function listenToCommand() {
  $("output").addEventListener("input", () => {
    $("output").dataset.own = $("output").value ? "yes" : "";
    showCommand();
  });
  for (const id of ["copy", "copy-below"]) $(id).addEventListener("click", copyCommand);
}

// Only where it changed, so that nothing is said twice and no layout is done in vain.
function setText(holder, text) {
  if (holder.textContent !== text) holder.textContent = text;
}

// Text only ever becomes text: nothing from outside is read as HTML.
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

fillSettings();
listenToSettings();
for (const svg of document.querySelectorAll("svg.chart")) listenToChart(svg);
listenToTable();
listenToCommand();
new ResizeObserver(([{ contentRect }]) => {
  if (width === contentRect.width) return;
  ({ width } = contentRect);
  soon(update);
}).observe($("counts-chart").parentElement);
