// Three charts over the languages in order of rank, as SVG: what stage 1 moves, shares before and after, epochs.
//
// Marks are drawn anew at every change. All of a kind are one path, so that 2,000 languages are as quick as 20.
// Colour never stands alone: ▲ gains, ▼ loses, ○ is as counted, ■ is held by the cap.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 58, RIGHT = 14, TOP = 14;
const LONGEST_LABEL = 8; // characters of a code under an axis
const ROOM = 9.8; // pixels from code to code

function element(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

// Stage 1: counts, the line, and an arrow from each count to the line.
function drawCounts(svg, width, languages, plan, selected) {
  const counts = languages.map((language) => language.count);
  const chart = openChart(svg, width, languages, logScale([...counts, ...plan.fitted], amount), selected);
  const { x, y, r } = chart;
  chart.add("path", { class: "counted", d: join(counts, (count, i) => dot(x(i), y(count), r)) });
  if (plan.line) {
    const moves = counts.map((count, i) => ({ i, by: Math.log(plan.fitted[i] / count) }));
    for (const [kind, sign] of [["less", -1], ["more", 1]]) {
      const arrows = moves.filter(({ by }) => by * sign > 0);
      chart.add("path", { class: `stem ${kind}`, d: join(arrows, ({ i }) => `M${x(i)},${y(counts[i])}V${y(plan.fitted[i])}`) });
      const long = arrows.filter(({ i }) => Math.abs(y(counts[i]) - y(plan.fitted[i])) > 2.4 * r);
      chart.add("path", { class: `mark ${kind}`, d: join(long, ({ i }) => arrowHead(x(i), y(plan.fitted[i]), r, sign)) });
    }
    chart.add("path", { class: "line", d: `M${join(plan.fitted, (value, i) => `${i ? "L" : ""}${x(i)},${y(value)}`)}` });
    nameMostMoved(chart, languages, counts, moves);
  }
}

// Stage 2: the share of each language as counted, and in training.
function drawShares(svg, width, languages, plan, selected) {
  const range = [...plan.raw, ...plan.stage1, ...plan.shares].map((share) => 100 * share);
  const chart = openChart(svg, width, languages, logScale(range, (value) => `${amount(value)} %`), selected);
  const { x, r } = chart;
  const y = (share) => chart.y(100 * share);
  for (const [kind, sign] of [["less", -1], ["more", 1]]) {
    const moved = plan.shares.flatMap((share, i) => ((share >= plan.raw[i] ? 1 : -1) === sign ? [i] : []));
    chart.add("path", { class: `stem ${kind}`, d: join(moved, (i) => `M${x(i)},${y(plan.raw[i])}V${y(plan.shares[i])}`) });
    chart.add("path", { class: `mark ${kind}`, d: join(moved, (i) => triangle(x(i), y(plan.shares[i]), r, sign)) });
  }
  chart.add("path", { class: "before", d: join(plan.raw, (share, i) => dot(x(i), y(share), 0.85 * r)) });
}

// Epochs: stems from one pass over the data, upwards where text is repeated.
function drawEpochs(svg, width, languages, plan, selected, cap) {
  const known = plan.epochs.flatMap((epochs, i) => (epochs > 0 ? [i] : []));
  const values = known.map((i) => plan.epochs[i]);
  const chart = openChart(svg, width, languages, logScale([...values, 0.5, 2 * OFTEN, ...(cap ? [1.5 * cap] : [])], amount), selected);
  const { x, y, r } = chart;
  chart.rule(1, "once", "seen once");
  if (cap !== OFTEN) chart.rule(OFTEN, "often", `${OFTEN} times`);
  if (cap) chart.rule(cap, "cap", `cap ${amount(cap)}`);
  const kindOf = (i) => (plan.limited.has(i) ? "held" : isOften(plan.epochs[i]) ? "often" : "within");
  const shapes = { held: square, often: (...at) => triangle(...at, 1), within: dot };
  for (const [kind, shape] of Object.entries(shapes)) {
    const members = known.filter((i) => kindOf(i) === kind);
    chart.add("path", { class: `stem ${kind}`, d: join(members, (i) => `M${x(i)},${y(1)}V${y(plan.epochs[i])}`) });
    chart.add("path", { class: `mark ${kind}`, d: join(members, (i) => shape(x(i), y(plan.epochs[i]), r)) });
  }
}

// Sizes the chart and empties it of marks; gives what places new ones. Axes are drawn again only where they changed.
function openChart(svg, width, languages, scale, selected) {
  const labels = languages.map(({ code }) => shortened(code));
  const longest = Math.max(...labels.map((label) => label.length));
  const step = (width - LEFT - RIGHT) / languages.length;
  const lying = step > 8 * longest + 8; // codes lie where there is room, else they stand
  const bottom = 12 + (lying ? 14 : 6.4 * longest);
  const height = Math.max(Math.min(380, 0.62 * width), 230) + bottom;
  const floor = height - bottom;
  const x = (i) => round(LEFT + step * (i + 0.5));
  const y = (value) => {
    const part = (Math.log10(value) - scale.from) / (scale.to - scale.from);
    return round(floor - Math.max(part, 0) * (floor - TOP)); // 0 and what is next to it lie on the floor
  };
  svg.rankAt = (pixel) => Math.min(Math.max(Math.floor((pixel - LEFT) / step), 0), languages.length - 1);
  const drawn = JSON.stringify([width, height, selected, scale]);
  if (svg.drawn !== drawn) {
    svg.drawn = drawn;
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    svg.replaceChildren(element("g"), element("g"));
    drawAxes(svg.firstChild, { x, y, width, floor, step, lying }, labels, scale, selected);
  }
  const marks = svg.lastChild;
  marks.replaceChildren();
  const add = (name, attributes, text) => marks.append(element(name, attributes, text));
  const rule = (value, kind, text) => {
    add("path", { class: `rule ${kind}`, d: `M${LEFT},${y(value)}H${width - RIGHT}` });
    add("text", { class: "tick name", x: LEFT + 6, y: y(value) - 4 }, text);
  };
  return { add, rule, x, y, width, floor, r: Math.min(Math.max(0.4 * step, 1.1), 4.5) };
}

function drawAxes(axes, { x, y, width, floor, step, lying }, labels, scale, selected) {
  for (const { value, text } of scale.ticks) {
    axes.append(element("path", { class: "grid", d: `M${LEFT},${y(value)}H${width - RIGHT}` }));
    axes.append(element("text", { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, text));
  }
  const every = Math.ceil(ROOM / step);
  labels.forEach((label, i) => {
    const shown = i === selected || (i % every === 0 && Math.abs(i - selected) * step >= ROOM);
    if (!shown) return;
    const transform = lying ? `translate(${x(i)},${floor + 18})` : `translate(${x(i) + 3.5},${floor + 8}) rotate(-90)`;
    const kind = `code${lying ? " lying" : ""}${i === selected ? " chosen" : ""}`;
    axes.append(element("text", { class: kind, transform, "text-anchor": lying ? "middle" : "end" }, label));
  });
  axes.append(element("path", { class: "guide", d: `M${x(selected)},${TOP}V${floor + 4}` }));
}

// Names the languages that stage 1 moves most, where there is room for their codes.
function nameMostMoved(chart, languages, counts, moves) {
  const sorted = [...moves].sort((a, b) => a.by - b.by);
  const wanted = [...sorted.slice(0, 5).filter(({ by }) => by < -0.05), ...sorted.slice(-5).filter(({ by }) => by > 0.05)];
  const taken = [];
  for (const { i, by } of wanted.sort((a, b) => Math.abs(b.by) - Math.abs(a.by))) {
    const text = shortened(languages[i].code);
    const half = 3.6 * text.length + 2;
    const at = Math.min(Math.max(chart.x(i), LEFT + half), chart.width - RIGHT - half);
    const heights = [1, 2].map((level) => chart.y(counts[i]) + (by < 0 ? -6 - 13 * (level - 1) : 15 + 13 * (level - 1)));
    const free = heights.find((height) => height > TOP - 4 && height < chart.floor &&
      taken.every((other) => Math.abs(other.at - at) > half + other.half || Math.abs(other.height - height) > 12));
    if (free === undefined) continue;
    taken.push({ at, half, height: free });
    chart.add("text", { class: "moved", x: at, y: free, "text-anchor": "middle" }, text);
  }
}

// A logarithmic scale around positive values, ticks at decades, or at 1, 2 and 5 where there are few. Below a billionth
// of the largest nothing is told apart.
function logScale(values, show) {
  const positive = values.filter((value) => value > 0);
  const most = Math.log10(Math.max(...positive));
  const least = Math.max(Math.log10(Math.min(...positive)), most - 9);
  const margin = Math.max(0.06 * (most - least), 0.08);
  const [from, to] = [least - margin, most + margin];
  const step = Math.ceil((to - from) / 8);
  const steps = to - from < 2.5 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let decade = Math.floor(from / step) * step; decade <= to; decade += step) {
    for (const digit of steps) {
      const value = digit * 10 ** decade;
      if (Math.log10(value) >= from && Math.log10(value) <= to) ticks.push({ value, text: show(value) });
    }
  }
  return { from, to, ticks };
}

const join = (items, path) => items.map(path).join("");
const round = (pixels) => Math.round(10 * pixels) / 10;
const dot = (x, y, r) => `M${round(x - r)},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`;
const square = (x, y, r) => `M${round(x - r)},${round(y - r)}h${2 * r}v${2 * r}h${-2 * r}z`;
const triangle = (x, y, r, sign) => `M${round(x - 1.2 * r)},${round(y + sign * r)}h${2.4 * r}l${-1.2 * r},${-2.2 * r * sign}z`;
const arrowHead = (x, y, r, sign) => `M${x},${y}l${-r},${2 * r * sign}h${2 * r}z`;

function shortened(code) {
  const characters = [...code];
  return characters.length > LONGEST_LABEL ? `${characters.slice(0, LONGEST_LABEL - 1).join("")}…` : code;
}
