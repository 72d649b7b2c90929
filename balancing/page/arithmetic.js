"use strict";

// What balancing/fit.py, line.py and shares.py compute, in the browser: settings → shares, tokens, epochs. Pure: it knows
// no document.
//
// Languages are {count, available, group}, in falling order of count; `available` tokens may be null. Settings are
// {strategy, alpha, curve, budget, cap}; budget and cap may be null. `given` holds what the page does not choose: `lines`
// (each curve's {slope, intercept, r2}, null for a single language), `table` (a user's shares), `sequenceTokens`, and
// `unimaxCap`, the cap of UniMax unless another is set.

function computePlan(languages, settings, given) {
  const counts = languages.map((language) => language.count);
  const logs = counts.map(Math.log);
  const line = settings.strategy === "two-stage" ? given.lines[settings.curve] : null;
  const fittedLogs = line ? onTheLine(logs.length, line, settings.curve) : logs;
  const plan = {
    line,
    fitted: line ? fittedLogs.map(Math.exp) : counts,
    raw: powerShares(logs, 1),
    stage1: powerShares(fittedLogs, 1),
    shares: settings.strategy === "table" ? given.table : powerShares(fittedLogs, exponentOf(settings)),
    limited: new Set(),
    ...limitsOf(languages, settings, given),
  };
  plan.problem = whyNot(plan, settings, given);
  if (plan.cap !== null && !plan.problem) {
    const most = plan.available.map((tokens) => (tokens === null ? Infinity : (plan.cap * tokens) / settings.budget));
    ({ shares: plan.shares, limited: plan.limited } = limitShares(plan.shares, most));
  }
  const budget = plan.inTokens ? settings.budget : null;
  plan.tokens = plan.shares.map((share) => (budget === null ? null : share * budget));
  plan.epochs = plan.tokens.map((tokens, i) => (tokens !== null && plan.available[i] ? tokens / plan.available[i] : null));
  return plan;
}

function exponentOf({ strategy, alpha }) {
  return { "two-stage": alpha, alpha, raw: 1, uniform: 0, unimax: 0 }[strategy];
}

// Stage 1: ln of the count that the line has at each rank.
function onTheLine(number, { slope, intercept }, curve) {
  const position = curve === "zipf" ? Math.log : (rank) => rank;
  return Array.from({ length: number }, (_, i) => intercept + slope * position(i + 1));
}

// Stage 2: shares proportional to count to the power alpha, from ln(count); they sum to 1.
function powerShares(logs, alpha) {
  const exponents = logs.map((log) => alpha * log);
  const largest = Math.max(...exponents);
  const weights = exponents.map((exponent) => Math.exp(exponent - largest));
  const total = sum(weights);
  return weights.map((weight) => weight / total);
}

// The cap on epochs, and what it is taken of: UniMax without known tokens takes the budget in the unit of the counts.
function limitsOf(languages, { strategy, cap, budget }, { unimaxCap }) {
  const available = languages.map((language) => language.available);
  const inTokens = strategy !== "unimax" || budget === null || available.some((tokens) => tokens !== null);
  return {
    inTokens,
    available: inTokens ? available : languages.map((language) => language.count),
    cap: cap ?? (strategy === "unimax" ? unimaxCap : null),
  };
}

// Why there is no such plan, as a key of the page's explanations; null where there is one.
function whyNot({ shares, inTokens, available, cap }, { budget }, { sequenceTokens }) {
  const trained = shares.filter((share) => share > 0).length;
  if (inTokens && budget !== null && budget < trained * sequenceTokens) return "small budget";
  if (cap === null) return null;
  if (budget === null) return "no budget";
  if (available.every((tokens) => tokens === null)) return "no tokens";
  return tokensWithin({ shares, available, cap }) / budget < 1 - 1e-12 ? "no room" : null;
}

// Tokens of all languages seen `cap` times; without end where a language's tokens are not known.
function tokensWithin({ shares, available, cap }) {
  return sum(available.map((tokens, i) => (shares[i] === 0 ? 0 : tokens === null ? Infinity : cap * tokens)));
}

// min(most, λ · share) with the λ for which all sum to 1: what a limit cuts goes to the others, in proportion.
function limitShares(shares, most) {
  const order = shares.flatMap((share, i) => (share > 0 ? [i] : []));
  const nearness = (i) => shares[i] / most[i]; // to the limit: the greater, the smaller the λ at which it is reached
  order.sort((i, j) => nearness(j) - nearness(i) || i - j);
  const rest = new Array(order.length).fill(0); // summed up from the end: a difference would keep no digit of small ones
  for (let at = order.length - 1, total = 0; at >= 0; at -= 1) rest[at] = total += shares[order[at]];
  let free = 1, reached = 0;
  while (reached < order.length && free * (shares[order[reached]] / rest[reached]) > most[order[reached]]) {
    free -= most[order[reached]];
    reached += 1;
  }
  const limited = new Set(order.slice(0, reached));
  const others = order.slice(reached);
  const left = Math.max(1 - sum([...limited].map((i) => most[i])), 0);
  const largest = Math.max(...others.map((i) => shares[i]));
  const whole = sum(others.map((i) => shares[i] / largest));
  const part = (i) => shares[i] / largest / whole;
  return { shares: shares.map((share, i) => (limited.has(i) ? most[i] : share ? Math.min(left * part(i), most[i]) : 0)), limited };
}

// Sums of the languages of each resource group; `epochs` is how often its text is seen, on average.
function sumGroups(plan, languages, groups) {
  return groups.map((group) => {
    const members = languages.flatMap((language, i) => (language.group === group.key ? [i] : []));
    const known = members.filter((i) => plan.epochs[i] !== null);
    const total = (values, indices) => sum(indices.map((i) => values[i]));
    return {
      ...group,
      languages: members.length,
      raw: total(plan.raw, members),
      share: total(plan.shares, members),
      epochs: known.length ? total(plan.tokens, known) / total(plan.available, known) : null,
    };
  });
}

// Neumaier's sum, as exact as Python's fsum for what is added here.
function sum(values) {
  let total = 0;
  let lost = 0;
  for (const value of values) {
    const next = total + value;
    if (next === Infinity) return Infinity;
    lost += Math.abs(total) >= Math.abs(value) ? total - next + value : value - next + total;
    total = next;
  }
  return total + lost;
}
