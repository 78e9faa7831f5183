// The page of a served model. Everything that it shows comes from /model/info, /model/schema, /predict and
// /explain, and is written as text, never as markup: labels and column names may hold anything.

const at = (id) => document.getElementById(id);
const MOST_DRIVERS = 10;
const MOST_CLASSES = 8;
const MOST_CHOICES = 60;
const FIRST_SCORES = [
  "roc_auc", "accuracy", "f1", "f1_macro", "log_loss", "r2", "rmse", "mae", "mape",
];

/** Return an element with properties and children; strings become text. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// ---------------------------------------------------------------------------------------------- the server

class Refused extends Error {
  constructor(status, { message, hint = "", details = [] }) {
    super(message);
    Object.assign(this, { status, hint, details });
  }
}

let key = "";

/** Ask the server; JSON in, JSON out, and an error of one kind for all that can go wrong. */
async function ask(path, body, signal) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { message: "The server does not answer.", hint: "Try again in a moment." });
  }
  const answer = readJson(await response.text());
  if (response.ok && answer !== undefined) return answer;
  throw new Refused(response.status, answer?.error ?? { message: `The server answered ${response.status}.` });
}

/** Read JSON, and keep integers that this language would round as text. */
function readJson(text) {
  const exact = (_name, value, context) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
      ? context.source
      : value;
  try {
    return JSON.parse(text, exact);
  } catch {
    return undefined;
  }
}

// ----------------------------------------------------------------------------------------------- the fields

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const TEXT = JSON.stringify;
const MIDNIGHT = "T00:00:00+00:00";

/** Return a number as it was typed, so that no digit is lost; the server says what is none. */
function numberText(typed) {
  const plain = typed.trim().replace(/^\+/, "").replace(/^(-?)\./, "$10.").replace(/\.(?=$|[eE])/, "");
  return plain === "" ? "null" : NUMBER.test(plain) ? plain : TEXT(typed);
}

const input = (properties) => {
  const element = make("input", { type: "text", autocomplete: "off", ...properties });
  return { element, read: () => element.value, write: (value) => (element.value = value) };
};

/** Each kind of column: what is typed into, and how that becomes JSON and comes from it. */
const KINDS = {
  number({ whole, low }) {
    // a phone's keyboard of digits has no minus
    const inputMode = !(low >= 0) ? "text" : whole ? "numeric" : "decimal";
    const box = input({ inputMode, spellcheck: false });
    return { ...box, json: () => numberText(box.read()) };
  },
  text({ nullable }) {
    const box = input({});
    return { ...box, json: () => (nullable && box.read() === "" ? "null" : TEXT(box.read())) };
  },
  key() {
    const box = input({ spellcheck: false });
    const json = () => (box.read() === "" ? undefined : NUMBER.test(box.read()) ? box.read() : TEXT(box.read()));
    return { ...box, json };
  },
  day({ nullable }) {
    const box = input({ type: "date" });
    const write = (value) => (box.element.value = String(value).slice(0, 10));
    return { ...box, write, json: () => (box.read() || !nullable ? TEXT(box.read()) : "null") };
  },
  moment() {
    const box = input({ type: "datetime-local", step: 1 });
    const write = (value) => (box.element.value = value ? new Date(value).toISOString().slice(0, 19) : "");
    return { ...box, write, json: () => (box.read() ? TEXT(`${box.read()}Z`) : "null") };
  },
  truth({ nullable }) {
    const element = make("select", {}, ...(nullable ? [new Option("(missing)", "null")] : []));
    element.append(new Option("yes", "true"), new Option("no", "false"));
    return { element, json: () => element.value, write: (value) => (element.value = String(value)) };
  },
  choice({ nullable, choices, open }) {
    const element = make("select");
    if (nullable) element.append(new Option("(missing)", "null"));
    element.append(...choices.map((choice) => new Option(choice === "" ? "(empty)" : choice, TEXT(choice))));
    if (!open) {
      return { element, json: () => element.value, write: (value) => (element.value = TEXT(value)) };
    }
    element.append(new Option("another …", "other"));
    const other = make("input", { type: "text", hidden: true, autocomplete: "off", ariaLabel: "another value" });
    const isOther = () => element.value === "other";
    element.addEventListener("change", () => {
      other.hidden = !isOther();
      if (isOther()) other.focus();
    });
    const write = (value) => {
      element.value = TEXT(value);
      if (element.selectedIndex < 0) [element.value, other.value] = ["other", value ?? ""];
      other.hidden = !isOther();
    };
    return { element, other, json: () => (isOther() ? TEXT(other.value) : element.value), write };
  },
};

/** Tell which kind a column is from its JSON Schema: by its own type, which stands before what else is read. */
function kindOf(schema) {
  const types = [schema.type ?? []].flat();
  const nullable = types.includes("null");
  const type = types.find((each) => each !== "null");
  const choices = (schema.enum ?? schema.examples)?.filter((choice) => choice !== null);
  const [low, high] = [schema["x-training-min"], schema["x-training-max"]];
  if (schema["x-key"]) return ["key", {}];
  if (choices && choices.length <= MOST_CHOICES) return ["choice", { nullable, choices, open: !schema.enum }];
  if (type === "boolean") return ["truth", { nullable }];
  if (type === "integer" || type === "number") return ["number", { nullable, whole: type === "integer", low }];
  if (schema.format === "date-time") {
    return [[low, high].every((end) => end?.endsWith(MIDNIGHT)) ? "day" : "moment", { nullable }];
  }
  return [/^\d{4}-\d\d-\d\d$/.test(low ?? "") ? "day" : "text", { nullable }];
}

/** Return what training saw of a column, as a sentence, and the check of whether a value lies in it. */
function rangeOf(kind, schema) {
  const [low, high] = [schema["x-training-min"], schema["x-training-max"]];
  if (low === undefined || low === null) return null;
  if (kind === "number") {
    const isFar = (text) => text.trim() !== "" && (Number(text) < Number(low) || Number(text) > Number(high));
    return { words: `${shown(low)} to ${shown(high)} in training`, isFar };
  }
  const cut = kind === "day" ? 10 : 16;
  const [first, last] = [low, high].map((end) => end.slice(0, cut));
  const isFar = (text) => kind !== "text" && text !== "" && (text.slice(0, cut) < first || text.slice(0, cut) > last);
  const zone = kind === "moment" ? " (UTC)" : "";
  return { words: `${first.replace("T", " ")} to ${last.replace("T", " ")}${zone} in training`, isFar };
}

let numbered = 0;

/** Make the field of one column. */
function makeField(name, schema) {
  const [kind, traits] = kindOf(schema);
  const box = KINDS[kind](traits);
  const id = `field-${(numbered += 1)}`;
  const range = rangeOf(kind, schema);
  const error = make("p", { className: "error", id: `${id}-error` });
  const hint = make("p", { className: "hint", id: `${id}-hint` });
  const describe = () => {
    const isFar = range?.isFar(box.element.value) ?? false;
    const missing = traits.nullable && !(kind === "choice" || kind === "truth") ? "may be empty" : "";
    hint.textContent = [range?.words, missing].filter(Boolean).join(" · ");
    if (isFar) hint.prepend(make("span", { className: "far" }, "Outside of what training saw: "));
    hint.hidden = hint.textContent === "";
  };
  box.element.id = id;
  for (const each of [box.element, box.other].filter(Boolean)) {
    each.setAttribute("aria-describedby", `${error.id} ${hint.id}`);
    each.addEventListener("input", () => {
      describe();
      complain("");
    });
  }
  function complain(message) {
    error.textContent = message;
    const invalid = message ? "true" : "false";
    for (const each of [box.element, box.other].filter(Boolean)) each.setAttribute("aria-invalid", invalid);
  }
  const element = make(
    "div", { className: "field" }, make("label", { htmlFor: id }, breakable(name)), box.element, box.other, error, hint,
  );
  const write = (value) => {
    box.write(value ?? (kind === "choice" || kind === "truth" ? null : ""));
    describe();
    complain("");
  };
  return { name, kind, element, focus: () => box.element.focus(), json: box.json, write, complain };
}

// -------------------------------------------------------------------------------------------------- writing

/** Return a value as people read it: a number with the digits that matter. */
function shown(value, digits = 4) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (value < 0) return `−${shown(-value, digits)}`;
  if (Number.isInteger(value)) return value.toLocaleString("en", { maximumFractionDigits: 0 });
  if (value < 1e-4 || value >= 1e9) return value.toExponential(digits - 1);
  return value.toLocaleString("en", { maximumSignificantDigits: Math.max(digits, Math.ceil(Math.log10(value + 1))) });
}

/** Return a name that may break where its words end, or text where it has one. */
function breakable(name) {
  const words = name.split(/(?<=[_./:-])/);
  return make("span", {}, ...words.flatMap((word, place) => (place ? [make("wbr"), word] : [word])));
}

/** Return a moment without what machines need. */
const moment = (value) => String(value).replace(/^(\d{4}-\d\d-\d\d)T([\d:]+)(Z|\+00:00)$/, "$1 $2");

/** Return a way of writing sizes below one another: with a sign, and as many decimals as the largest needs. */
function signs(most) {
  const decimals = Math.min(12, Math.max(0, 2 - Math.floor(Math.log10(most))));
  const format = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return (value) => (value < 0 ? "−" : "+") + Math.abs(value).toLocaleString("en", format);
}

const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);

/** Return a bar that starts at 0. */
function bar(share, cut) {
  const fill = make("div", { className: "fill" });
  fill.style.width = `${100 * share}%`;
  const track = make("div", { className: "track", ariaHidden: "true" }, fill);
  if (cut !== undefined) {
    const line = make("div", { className: "cut" });
    line.style.left = `${100 * cut}%`;
    track.append(line);
  }
  return track;
}

/** Return what belongs to a class, whose name is its label as Python writes it. */
function ofClass(values, label) {
  const names = { true: "True", false: "False" };
  return values[names[label]] ?? values[String(label)] ?? values[`${label}.0`];
}

/** Write the prediction. */
function showAnswer(answer, { info, keys }) {
  const isClass = answer.probabilities !== undefined;
  const parts = [make("p", { className: "result" }, isClass ? String(answer.prediction) : shown(answer.prediction, 5))];
  const probability = isClass ? ofClass(answer.probabilities, answer.prediction) : undefined;
  const words = [info.target];
  if (probability !== undefined) words.push(`probability ${percent(probability)}`);
  parts.push(make("p", { className: "hint" }, words.join(" · ")), ...sureness(answer, info));
  const known = keys.filter((name) => answer[name] !== undefined && answer[name] !== null);
  if (known.length) {
    parts.push(make("p", { className: "hint" }, `for ${known.map((name) => `${name} ${answer[name]}`).join(", ")}`));
  }
  if (answer.degraded) {
    parts.push(make("p", { className: "error" }, "The feature store did not answer; the recipe's defaults stand in."));
  }
  at("answer").replaceChildren(...parts);
  at("answer").classList.remove("is-old");
  at("chances").classList.remove("is-old");
  at("chances").replaceChildren(...(isClass ? chances(answer, info) : []));
}

/** Return lines that say how sure the answer is: its bounds, its quantiles, or the classes that it may be. */
function sureness(answer, { coverage }) {
  const lines = [];
  const share = typeof coverage === "number" ? `${shown(100 * coverage, 4)} %` : "";
  if (answer.interval) {
    const { lower, upper } = answer.interval;
    lines.push(`${share} sure: between ${shown(lower, 5)} and ${shown(upper, 5)}`);
  }
  if (answer.prediction_set) lines.push(`${share} sure: ${answer.prediction_set.map(String).join(" or ")}`);
  const quantiles = Object.keys(answer).filter((name) => /^pred_p[\d.]+$/.test(name));
  if (quantiles.length) {
    const each = quantiles.map((name) => `${name.slice(6)} % at most ${shown(answer[name], 5)}`);
    lines.push(each.join(" · "));
  }
  return lines.map((line) => make("p", { className: "hint" }, line));
}

/** Return a bar for each class, the likely ones first. */
function chances({ prediction, probabilities }, { threshold, classes }) {
  const shares = classes.map((label) => [String(label), ofClass(probabilities, label)]);
  const sorted = shares.sort(([, a], [, b]) => b - a);
  const isMoved = classes.length === 2 && typeof threshold === "number" && threshold !== 0.5;
  const positive = isMoved ? String(classes[1]) : undefined;
  const rows = sorted.slice(0, MOST_CLASSES).map(([label, share]) =>
    make(
      "li",
      { className: label === String(prediction) ? "is-chosen" : "" },
      make("div", { className: "words" }, make("span", {}, label), make("span", { className: "number" }, percent(share))),
      bar(share, label === positive ? threshold : undefined),
    ),
  );
  const parts = [make("ul", { className: "bars", ariaLabel: "Probabilities" }, ...rows)];
  const more = sorted.slice(MOST_CLASSES);
  if (more.length) {
    const rest = percent(more.reduce((sum, [, share]) => sum + share, 0));
    parts.push(make("p", { className: "hint" }, `and ${more.length} more classes with ${rest} together`));
  }
  if (isMoved) {
    parts.push(make("p", { className: "hint" }, `${positive} is predicted from ${percent(threshold)} on (the mark).`));
  }
  return parts;
}

/** Write what the prediction comes from. */
function showDrivers({ prediction, explanation }, { info, row }) {
  const { columns, unit } = explanation;
  const of = (value) => (typeof value === "object" ? ofClass(value, prediction) : value);
  const parts = columns.map((each) => ({ ...each, size: of(each.shap) })).sort((a, b) => Math.abs(b.size) - Math.abs(a.size));
  const [first, rest] = [parts.slice(0, MOST_DRIVERS), parts.slice(MOST_DRIVERS)];
  const value = (each) => moment(shown(row[each.column] ?? each.value ?? "missing"));
  const lines = first.map((each) => [each.column, value(each), each.size]);
  if (rest.length) lines.push([`${rest.length} more columns`, "together", rest.reduce((sum, each) => sum + each.size, 0)]);
  const most = Math.max(...lines.map(([, , size]) => Math.abs(size))) || 1;
  const isPair = info.classes.length === 2;
  const perClass = columns.length > 0 && typeof columns[0].shap === "object";
  const [down, up] = isPair ? info.classes : perClass ? [`not ${prediction}`, prediction] : ["lower", "higher"];
  const [base, score] = [explanation.base, explanation.score].map((each) => shown(of(each), 3));
  const what = unit === "value" ? info.target : perClass ? `${unit} of ${prediction}` : `${unit} of ${up}`;
  const caption = `From ${base} for an average row to ${score} for this one (${what}).`;
  const table = make("table", { className: "drivers" }, make("caption", {}, caption));
  table.append(make("tbody", {}, ...lines.map((line) => driver(...line, most, signs(most)))));
  at("drivers").replaceChildren(
    make("p", { className: "ways" },
      make("span", { className: "down" }, `← ${down}`), make("span", { className: "up" }, `${up} →`)),
    table,
  );
}

function driver(column, value, size, most, signed) {
  const fill = make("div", { className: `fill ${size < 0 ? "down" : "up"}` });
  fill.style.width = `${(50 * Math.abs(size)) / most}%`;
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, breakable(column), make("span", { className: "value" }, value)),
    make("td", { className: "way" }, make("div", { className: "track", ariaHidden: "true" }, fill)),
    make("td", { className: "number" }, signed(size)),
  );
}

/** Write what is known of the model. */
function showModel(info, schema) {
  document.title = `${info.model_name} · mmp`;
  at("name").textContent = info.model_name;
  const learner = info.class_path.split(".").at(-1);
  const number = schema.request.required.length;
  const asked = `${number} ${number === 1 ? "column" : "columns"}`;
  const stored = info.stored_features?.length ?? 0;
  const added = stored ? ` and ${stored} of the feature store` : "";
  at("about").textContent = `Predicts ${info.target} (${info.task}) from ${asked}${added} with ${learner}.`;
  at("uri").textContent = ` · ${info.model_uri}`;
  const splits = ["test", "validation", "train"].filter((split) => info.metrics[split]);
  const scores = info.metrics[splits[0]] ?? {};
  const isFirst = (name) => name in scores && !(name === "f1_macro" && "f1" in scores);
  const firsts = FIRST_SCORES.filter(isFirst).slice(0, 4);
  const tiles = firsts.map((name) => make("div", {}, make("dt", {}, name), make("dd", {}, shown(scores[name], 3))));
  at("scores").replaceChildren(
    make("p", { className: "hint" }, splits.length ? `On its ${splits[0]} data` : "No metrics were kept."),
    make("dl", { className: "scores" }, ...tiles),
  );
  showMetrics(info.metrics, splits);
  const run = {
    run: info.run_id, name: info.run_name, experiment: info.experiment, recipe: info.recipe_name,
    model: info.class_path, ...info.hyperparameters,
  };
  const facts = Object.entries(run).filter(([, value]) => value !== undefined && value !== null);
  at("run").replaceChildren(
    ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]),
  );
}

function showMetrics(metrics, splits) {
  const head = make("tr", {}, make("th", { scope: "col" }, "metric"));
  head.append(...splits.map((split) => make("th", { scope: "col", className: "number" }, split)));
  const names = [...new Set(splits.flatMap((split) => Object.keys(metrics[split])))].sort();
  const rows = names.map((name) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, name),
      ...splits.map((split) => make("td", { className: "number" }, shown(metrics[split][name] ?? "–"))),
    ),
  );
  at("metrics").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

// --------------------------------------------------------------------------------------------------- acting

/** Return the row as JSON, each number as it was typed. */
function rowJson(fields) {
  const cells = fields.map((field) => [field.name, field.json()]).filter(([, json]) => json !== undefined);
  return `{${cells.map(([name, json]) => `${TEXT(name)}: ${json}`).join(", ")}}`;
}

/** Show a refusal: beside the fields that it names, and above the form what is left. */
function showRefusal(refused, fields) {
  const left = [];
  let first;
  for (const { path, message, hint } of refused.details) {
    const field = fields.find(({ name }) => name === path);
    if (!field) left.push(`${path} ${message}.`);
    else field.complain([`${message[0].toUpperCase()}${message.slice(1)}.`, hint].filter(Boolean).join(" "));
    first ??= field;
  }
  const number = refused.details.length - left.length;
  const title = number ? `${number === 1 ? "One value needs" : `${number} values need`} another look.` : refused.message;
  const more = number ? left : [refused.hint, ...left];
  at("refused").replaceChildren(
    make("p", { className: "error" }, title),
    ...more.filter(Boolean).map((line) => make("p", { className: "hint" }, line)),
  );
  if (first) first.focus();
}

let running = new AbortController();

/** Predict the row of the form, and then say why. */
async function predict(model) {
  running.abort();
  const { signal } = (running = new AbortController());
  const { fields } = model;
  const button = at("ask").querySelector("[type=submit]");
  const body = rowJson(fields);
  const row = readJson(body);
  fields.forEach((field) => field.complain(""));
  at("refused").replaceChildren();
  button.setAttribute("aria-disabled", "true");
  for (const id of ["answer", "chances", "drivers"]) at(id).classList.add("is-old");
  try {
    showAnswer(await ask("predict", body, signal), model);
    at("answer-title").scrollIntoView({ block: "nearest" });
    await explain(body, { ...model, row }, signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refused)) throw error;
    at("why").hidden = true;
    at("chances").replaceChildren();
    at("answer").classList.remove("is-old");
    at("answer").replaceChildren(make("p", { className: "hint" }, "There is none for these values."));
    if (error.status === 401 || error.status === 403) askForKey(error);
    else showRefusal(error, fields);
  } finally {
    if (!signal.aborted) button.removeAttribute("aria-disabled");
  }
}

async function explain(body, model, signal) {
  try {
    const answer = await ask("explain", body, signal);
    showDrivers(answer, model);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const words = `This prediction cannot be explained: ${error.message}`;
    at("drivers").replaceChildren(make("p", { className: "hint" }, words));
  }
  at("drivers").classList.remove("is-old");
  at("why").hidden = false;
}

/** Ask for credentials, the first time or again. */
function askForKey(refused) {
  at("state").textContent = "";
  at("columns").hidden = true;
  at("access").hidden = false;
  at("key-error").textContent = key ? `${refused.message} Try another.` : "";
  at("key").setAttribute("aria-invalid", String(Boolean(key)));
  at("key").focus();
}

function showForm({ info, schema }) {
  const { properties, required } = schema.request;
  const fields = Object.entries(properties).map(([name, each]) => makeField(name, each));
  const keys = fields.filter(({ name }) => !required.includes(name));
  at("fields").replaceChildren(...fields.filter((field) => !keys.includes(field)).map(({ element }) => element));
  at("keys").hidden = keys.length === 0;
  at("keys").querySelector(".fields").replaceChildren(...keys.map(({ element }) => element));
  const model = { info, fields, keys: keys.map(({ name }) => name) };
  const fill = () => fields.forEach((field) => field.write(schema.example[field.name]));
  const form = at("ask");
  form.onsubmit = (event) => {
    event.preventDefault();
    predict(model);
  };
  form.onreset = (event) => {
    event.preventDefault();
    at("refused").replaceChildren();
    fill();
  };
  at("as-curl").ontoggle = () => writeCurl(fields);
  form.oninput = () => writeCurl(fields);
  fill();
}

function writeCurl(fields) {
  const url = new URL("predict", location.href);
  const who = key ? " -H 'Authorization: Bearer …'" : "";
  const body = rowJson(fields).replaceAll("'", String.raw`'\''`);
  at("as-curl").querySelector("code").textContent =
    `curl ${url} -H 'Content-Type: application/json'${who} \\\n  -d '${body}'`;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Load the model's facts; wait for a server that still starts. */
async function load() {
  for (;;) {
    try {
      const [info, schema] = await Promise.all([ask("model/info"), ask("model/schema")]);
      at("access").hidden = true;
      at("columns").hidden = false;
      at("state").textContent = "";
      showModel(info, schema);
      showForm({ info, schema });
      // a link carries no credentials
      at("links").hidden = key !== "" || !(await fetch("docs")).ok;
      return;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status === 401 || error.status === 403) return askForKey(error);
      at("state").textContent = `${error.message} Asking again …`;
      await pause(1000);
    }
  }
}

at("access").onsubmit = (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  load();
};

load();
