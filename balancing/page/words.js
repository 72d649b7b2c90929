// Numbers and findings in words. Pure: it knows no document.

const english = (options) => new Intl.NumberFormat("en", options).format;
const short = english({ notation: "compact", maximumSignificantDigits: 3 });
const four = english({ maximumSignificantDigits: 4 });
const two = english({ maximumSignificantDigits: 2 });
const whole = english({ maximumFractionDigits: 0 });

function amount(value) {
  if (value >= 1e15 || (value > 0 && value < 1e-6)) return value.toExponential(1);
  if (value >= 1e6) return short(value);
  return value >= 1000 ? whole(value) : four(value);
}

function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 1e-6) return `${value.toExponential(1)} %`;
  return `${value >= 0.1 ? value.toFixed(value >= 10 ? 1 : 2) : two(value)} %`;
}

function times(ratio) {
  return `× ${ratio >= 100 ? whole(ratio) : two(ratio)}`;
}

// A limit of just so many is not above it.
function isOften(epochs) {
  return epochs > OFTEN * (1 + 1e-9);
}

// A name from outside, so that its direction does not spread to the words around it.
function isolated(name) {
  return `\u2068${name}\u2069`;
}

function languageCount(number) {
  return `${whole(number)} language${number === 1 ? "" : "s"}`;
}

function orUnknown(value, show) {
  return value === null ? "unknown" : show(value);
}

// "300B", "3e11", "300,000,000,000" → 300000000000; null where nothing is given, NaN where it is no such number.
function parseTokens(text) {
  const plain = text.replace(/[\s,_]/g, "");
  if (!plain) return null;
  const [, digits, unit] = /^(\d*\.?\d+(?:e\+?\d+)?)([kmbgt]?)$/i.exec(plain) ?? [];
  const value = Number(digits) * { "": 1, k: 1e3, m: 1e6, b: 1e9, g: 1e9, t: 1e12 }[(unit ?? "").toLowerCase()];
  return value > 0 && Number.isFinite(value) ? value : NaN;
}

function describeProblem(plan, { strategy, budget }, { sequenceTokens, unit }) {
  const of = plan.inTokens ? "tokens" : unit;
  return {
    "small budget": `A budget of ${amount(budget)} tokens does not hold one sequence of ${sequenceTokens} of each language: `
      + "raise it, for example to 300B.",
    "no tokens": "A cap on epochs needs the tokens that each language has, and they are not known: see Epochs.",
    "no budget": `${strategy === "unimax" ? "UniMax" : "A cap on epochs"} needs a budget: give the tokens of the whole training.`,
    "no room": `All languages seen ${plan.cap} times hold ${amount(tokensWithin(plan))} ${of}, less than the budget of `
      + `${amount(budget)}: lower the budget or raise the cap.`,
  }[plan.problem];
}

function describeLine(plan, { strategy, curve }, unit) {
  if (!plan.line && strategy === "two-stage") return "One language has no line.";
  if (!plan.line) return "This strategy has no line: counts stay as they are.";
  const { slope, intercept, r2 } = plan.line;
  const rank = curve === "zipf" ? "ln(rank)" : "rank";
  const sign = slope < 0 ? "−" : "+";
  const quality = r2 === null ? "" : ` (R² ${r2.toFixed(3)})`;
  return `ln(${unit}) = ${intercept.toFixed(2)} ${sign} ${four(Math.abs(slope))} · ${rank}${quality}`;
}

// What is said of one language under each chart.
function describeLanguage(language, plan, i, unit) {
  const ratio = times(plan.shares[i] / plan.raw[i]);
  const fitted = plan.line
    ? `; on the line ${amount(plan.fitted[i])} (${times(plan.fitted[i] / language.count)})` : "";
  const have = language.available === null ? "an unknown number" : amount(language.available);
  const seen = plan.epochs[i] === null ? "epochs unknown" : `seen ${two(plan.epochs[i])} times`;
  return {
    counts: `rank ${i + 1}, ${amount(language.count)} ${unit}${fitted}`,
    shares: `${percent(plan.raw[i])} of the data as counted, ${percent(plan.shares[i])} of training (${ratio})`,
    epochs: plan.tokens[i] === null ? seen
      : `${amount(plan.tokens[i])} tokens of training from ${have} available: ${seen}`,
  };
}

function describePlan(languages, plan) {
  const names = (kept) => kept.slice(0, 2).map((i) => isolated(languages[i].name)).join(", ") + (kept.length > 2 ? ", …" : "");
  const order = [...plan.shares.keys()].sort((a, b) => plan.shares[b] - plan.shares[a]);
  const said = [`${isolated(languages[0].name)} ${percent(plan.raw[0])} as counted → ${percent(plan.shares[0])} of training`];
  const last = languages.length - 1;
  if (last) said.push(`${isolated(languages[last].name)} ${percent(plan.raw[last])} → ${percent(plan.shares[last])}`);
  const often = order.filter((i) => isOften(plan.epochs[i])).sort((a, b) => plan.epochs[b] - plan.epochs[a]);
  if (often.length) said.push(`${often.length} seen more than ${OFTEN} times (${names(often)})`);
  if (!plan.inTokens) said.push("no tokens are known, so the budget is taken in the unit of the counts");
  if (plan.limited.size) said.push(`${plan.limited.size} held by the cap`);
  return said.join(" · ");
}

// A word as the shell reads it back, as Python's shlex.quote writes it.
function shellQuoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}
