// The page's only script. It talks to the same API as everyone else, and shows what comes back as text, never as HTML.
"use strict";

const at = (id) => document.getElementById(id);
const NAMES = { en: "English", zh: "中文", fr: "Français", de: "Deutsch", es: "Español", ru: "Русский" };
const number = new Intl.NumberFormat("en");

let limits = null;    // of the service, from /v1/models
let running = null;   // AbortController of the request under way

function headers() {
  const given = { "Content-Type": "application/json" };
  const token = at("token").value.trim();
  if (token) given.Authorization = `Bearer ${token}`;
  return given;
}

// What went wrong, in words: the service's own sentence where there is one.
async function sentence(response) {
  try {
    const problem = await response.json();
    if (problem.detail) return problem.detail;
  } catch { /* not the service's own answer */ }
  return `The service answered with status ${response.status}.`;
}

function complain(words) {
  at("problem").textContent = words;
  at("problem").hidden = !words;
}

async function meet() {
  let response;
  try {
    response = await fetch("v1/models", { headers: headers() });
  } catch {
    complain("The service cannot be reached. Try again in a moment.");
    return;
  }
  if (response.status === 401) {
    at("secret").hidden = false;
    if (at("token").value) complain(await sentence(response));
    at("token").focus();
    return;
  }
  if (!response.ok) {
    complain(await sentence(response));
    return;
  }
  complain("");
  const model = (await response.json()).data[0];
  limits = model.limits;
  const chosen = document.querySelector("input[name=target]:checked")?.value ?? model.targets[0];
  at("targets").replaceChildren(...model.targets.map((code) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "target", value: code, checked: code === chosen });
    const name = document.createElement("span");
    name.lang = code;
    name.textContent = NAMES[code] ?? code;
    label.append(input, name);
    return label;
  }));
  count();
}

function count() {
  const characters = [...at("article").value].length;  // code points, as the service counts
  const most = limits?.max_characters;
  const over = most !== undefined && characters > most;
  at("count").textContent = most === undefined ? "" : `${number.format(characters)} of ${number.format(most)} characters`;
  at("count").classList.toggle("over", over);
  at("go").disabled = running !== null || over || !at("article").value.trim();
}

function show(summary) {
  at("summary").textContent = summary;
  at("answer").hidden = false;
}

function tell(item, seconds) {
  const facts = [];
  if (item.language) {
    const sure = item.language.code === "und" ? "" : ` (${Math.round(100 * item.language.score)} % sure)`;
    facts.push(`The article was taken to be ${item.language.name}${sure}.`);
  }
  facts.push(`${number.format(item.input_tokens)} tokens read, ${number.format(item.output_tokens)} written, ${seconds.toFixed(1)} s.`);
  if (item.passages > 1) facts.push(`The article is longer than the model reads at once: it was read in ${number.format(item.passages)} passages, and their summaries summarised, in ${item.rounds} rounds.`);
  if (item.truncated) facts.push(`Of the article, ${Math.floor(100 * item.read_share)} % was read.`);
  if (!item.summary) facts.push("The model wrote nothing.");
  at("facts").textContent = facts.join(" ");
}

async function whole(request, signal) {
  const response = await fetch("v1/summaries", { method: "POST", headers: headers(), body: JSON.stringify(request), signal });
  if (!response.ok) return refused(response);
  const item = (await response.json()).summaries[0];
  show(item.summary);
  return item;
}

// Server-sent events by hand: EventSource can neither POST nor send a token.
async function live(request, signal) {
  const response = await fetch("v1/summaries/stream", { method: "POST", headers: headers(), body: JSON.stringify(request), signal });
  if (!response.ok) return refused(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "", written = "", language, item;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const events = (waiting + value).split("\n\n");
    waiting = events.pop();
    for (const event of events) {
      const [name, data] = event.split("\n");
      const told = JSON.parse(data.slice("data: ".length));
      if (name === "event: language") language = told;
      if (name === "event: piece") show(written += told.piece);
      if (name === "event: summary") show((item = told).summary);
      if (name === "event: error") throw new Error(told.detail);
    }
  }
  if (!item) throw new Error("The service broke off before the summary was done.");
  return { ...item, language };
}

async function refused(response) {
  if (response.status === 401) at("secret").hidden = false;
  throw new Error(await sentence(response));
}

async function summarise(submitted) {
  submitted.preventDefault();
  if (running) return;
  const request = { text: at("article").value, target: document.querySelector("input[name=target]:checked")?.value ?? "en" };
  running = new AbortController();
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const clock = setInterval(() => { at("state").textContent = `Working, ${seconds().toFixed(0)} s`; }, 1000);
  at("state").textContent = "Working";
  at("answer").hidden = true;
  at("facts").textContent = "";
  at("cancel").hidden = false;
  at("copy").hidden = true;
  complain("");
  count();
  try {
    const item = await (at("live").checked ? live : whole)(request, running.signal);
    tell(item, seconds());
    at("copy").hidden = !item.summary || !navigator.clipboard;  // browsers give it to secure pages alone
    at("state").textContent = "";
  } catch (error) {
    const cancelled = error.name === "AbortError";
    at("state").textContent = cancelled ? "Cancelled" : "";
    if (!cancelled) complain(error instanceof TypeError ? "The service cannot be reached. Try again in a moment." : error.message);
  } finally {
    clearInterval(clock);
    running = null;
    at("cancel").hidden = true;
    count();
  }
}

at("form").addEventListener("submit", summarise);
at("article").addEventListener("input", count);
at("cancel").addEventListener("click", () => running?.abort());
at("token").addEventListener("change", meet);
at("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(at("summary").textContent);
  at("state").textContent = "Copied";
});
meet();
