// Handles keys, the focus after each step, the time spent on a record, and decisions that could not be sent. Pages also
// work without this script.

const RETRY_MS = 2000;
// Nobody can have read a record this soon; a key that is pressed earlier was meant for the previous record.
const TOO_SOON_MS = 150;
const MOST_WAITING = 3;
// A server that has not answered a decision after this time may never do so.
const PATIENCE_MS = 10000;

let shown = performance.now();
let place = null; // the place that last got the focus
let sending = 0;
let held = false; // a decision of this page waits to be sent
let onItsWay = null; // a decision that has been sent and not answered yet
let timer = null;
let opened = []; // details that are open when the page is replaced
let scrolled = 0; // scroll position of the labels at this time
let awaits = ""; // the first of two keys, until the second key is pressed
const left = {}; // whether each part of the page that keeps its state is open
const next = []; // controls used while a decision was being sent, with their record

// Keys -----------------------------------------------------------------------------------------------------------------

function inField(target) {
  return target.closest("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}

function nameOf(event) {
  const key = event.key === " " ? "space" : event.key.toLowerCase();
  const shift = event.shiftKey && /^[a-z]$/.test(key) ? "shift+" : "";
  return (event.ctrlKey && !event.getModifierState("AltGraph") ? "ctrl+" : "") + shift + key;
}

// The keys of the chosen part of the page come first; those of other labels, and of parts that are closed, do nothing.
function controlOf(name) {
  const own = `[data-key~="${CSS.escape(name)}"]`;
  const elsewhere = ":not([data-label] *):not([data-panel]:not([open]) > form *)";
  return document.querySelector(`[data-chosen] form ${own}, [data-chosen]:not([data-panel]) ${own}`)
    || document.querySelector(elsewhere + own);
}

document.addEventListener("toggle", (event) => {
  const panel = event.target;
  if (!panel.matches("[data-panel]")) return;
  panel.toggleAttribute("data-chosen", panel.open);
  if (!panel.open) return;
  panel.querySelector("summary").focus();
  shown = performance.now(); // a key pressed immediately was not meant for the panel that has just opened
}, true);

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  const name = nameOf(event);
  if (name === "escape") document.querySelector("[data-panel][open]")?.removeAttribute("open");
  if (event.repeat && (name === "enter" || name === "space") && event.target.closest("button")) event.preventDefault();
  if (event.repeat || event.defaultPrevented || event.metaKey) return;
  if (event.altKey && !event.getModifierState("AltGraph")) return;
  if (inField(event.target)) {
    awaits = "";
    if (name === "ctrl+enter" && event.target.form) event.target.form.requestSubmit();
    return;
  }
  if (name === "space" && event.target.closest("button, a, summary, input")) return;
  const pair = awaits && `${awaits}+${name}`;
  awaits = !awaits && /^[a-z]$/.test(name) && document.querySelector(`[data-key^="${name}+"]`) ? name : "";
  const control = controlOf(pair || name);
  if (!control || control.disabled || performance.now() - shown < TOO_SOON_MS) return;
  event.preventDefault();
  if (control.matches("input:not([type=radio]):not([type=checkbox]), textarea, select")) control.focus();
  else control.click();
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (!opener) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  document.getElementById(opener.dataset.opens).showModal();
}, true);

// Focus ----------------------------------------------------------------------------------------------------------------

// Screen readers read the changes of a live region only if the region existed before, so it is outside of the content that
// responses replace. The last text is removed first, because the same text again would not be a change.
function announce(text) {
  const said = document.getElementById("said"), announcer = document.getElementById("announcer");
  if (said) said.textContent = text;
  announcer.textContent = "";
  setTimeout(() => { announcer.textContent = text; }, 50);
}

document.addEventListener("announce", (event) => announce(event.detail));

function arrive() {
  for (const element of document.querySelectorAll("#page noscript")) element.remove();
  for (const element of document.querySelectorAll("[data-stays]")) element.open = left[element.id] ?? element.open;
  const heading = document.querySelector("#main [data-focus]") || document.querySelector("#main h1");
  const where = (heading && heading.dataset.focus) || location.pathname;
  if (where === place) {
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    document.getElementById("labels")?.scrollTo(0, scrolled);
    if (document.activeElement === document.body) document.querySelector("[data-chosen]")?.focus({ preventScroll: true });
    return;
  }
  place = where;
  shown = performance.now();
  if (heading) {
    heading.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

document.addEventListener("click", (event) => {
  const part = event.target.closest("[data-stays] > summary")?.parentElement;
  if (part) left[part.id] = !part.open; // it opens or closes after the click
});

function record() {
  return document.querySelector("[data-record]")?.dataset.record;
}

document.addEventListener("htmx:beforeSwap", () => {
  scrolled = document.getElementById("labels")?.scrollTop ?? 0;
  opened = [...document.querySelectorAll("#main details[open][id]")].map((element) => element.id);
});

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id !== "page") return;
  held = false;
  const said = document.getElementById("said")?.textContent;
  if (said) announce(said);
  arrive();
  tell();
  const step = next.shift();
  if (!step) return;
  const control = document.getElementById(step.id);
  if (control && step.record === record()) control.click();
  else next.length = 0;
});

// Sending --------------------------------------------------------------------------------------------------------------

function state(text, failed) {
  const saved = document.getElementById("saved");
  if (!saved) return;
  saved.textContent = text;
  saved.toggleAttribute("data-failed", failed);
}

document.addEventListener("submit", (event) => {
  for (const field of event.target.querySelectorAll("[data-seconds]")) {
    field.value = ((performance.now() - shown) / 1000).toFixed(1);
  }
}, true);

// A decision that is made while another decision is being sent is sent afterwards, if the page still shows the record.
document.addEventListener("click", (event) => {
  const control = event.target.closest("[data-decision] button, [data-decision] input[type=radio]");
  if (!control) return;
  const twice = event.detail > 1 && control.matches("button");
  const stopped = held || unsent().length >= MOST_WAITING;
  if (!twice && !stopped && !sending) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (!twice && !stopped && control.id && record()) next.push({ id: control.id, record: record() });
}, true);

document.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.verb === "post" && event.target.closest("[data-decision]")) event.detail.timeout = PATIENCE_MS;
});

document.addEventListener("htmx:beforeRequest", (event) => {
  const { requestConfig, elt } = event.detail;
  if (requestConfig.verb !== "post") return;
  sending += 1;
  if (elt.closest("[data-decision]")) onItsWay = requestConfig;
  state("Saving", false);
});

document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.requestConfig.verb !== "post") return;
  sending = Math.max(0, sending - 1);
  onItsWay = null;
  if (event.detail.successful) tell();
});

// Unsent decisions -----------------------------------------------------------------------------------------------------
// The browser keeps the values of the form, without the text of the record and without the token of the session, under
// the review and the person. The form carries an id of its own, so sending it again cannot write it twice.

function drawer() {
  return `mechtag-unsent-${document.getElementById("page")?.dataset.owner}`;
}

function unsent() {
  try {
    return JSON.parse(localStorage.getItem(drawer())) || [];
  } catch {
    return [];
  }
}

function tell() {
  const count = unsent().length;
  if (!count) state("All saved", false);
  else if (count < MOST_WAITING) state(`${count} ${count > 1 ? "decisions" : "decision"} not saved yet, trying again`, true);
  else state(`${count} decisions not saved yet, trying again. You cannot make further decisions until these are saved.`, true);
}

function store(config) {
  const fields = [...config.formData.entries()].filter(([name, value]) => name !== "csrf" && typeof value === "string");
  const id = config.formData.get("client_id");
  const waiting = unsent().filter((each) => each.id !== id);
  localStorage.setItem(drawer(), JSON.stringify([...waiting, { id, path: config.path, fields }]));
}

function keep(config) {
  store(config);
  held = true;
  next.length = 0;
  tell();
  again();
}

// A page of an ended session cannot send anything more. Its texts stay on the page, so that the person can copy them.
function signedOut() {
  held = true;
  next.length = 0;
  const count = unsent().length;
  if (!count) state("You are signed out, so nothing was saved. Copy your text, then reload the page to sign in.", true);
  else state(`You are signed out, and ${count} ${count > 1 ? "decisions are" : "decision is"} not saved yet. Reload the page to sign in; then mechtag saves ${count > 1 ? "them" : "it"}.`, true);
}

// The decisions stay in the browser, and every page that the person opens sends them again. Sending them from this page
// again would not help: its token is that of an earlier session, or the person's role has changed.
function refused(page) {
  held = true;
  next.length = 0;
  const count = unsent().length;
  state(`${count} ${count > 1 ? "decisions are" : "decision is"} not saved. ${refusal(page)} When you reload the page, mechtag tries again.`, true);
}

// Returns the message of a page that says why an action was not possible, or "" for any other page.
function refusal(page) {
  return new DOMParser().parseFromString(page, "text/html").getElementById("refusal")?.textContent ?? "";
}

function again() {
  clearTimeout(timer);
  timer = setTimeout(send, RETRY_MS);
}

async function send() {
  const [first] = unsent();
  if (!first) return;
  const csrf = document.getElementById("page")?.dataset.csrf || "";
  const body = new URLSearchParams([...first.fields, ["csrf", csrf]]);
  let answer, page;
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    answer = await fetch(first.path, { method: "POST", body, signal, headers: { "HX-Request": "true" } });
    page = await answer.text();
  } catch {
    again();
    return;
  }
  if (answer.status === 401) {
    signedOut();
    return;
  }
  if (answer.status === 403) {
    refused(page);
    return;
  }
  // If the server fails, the decision remains in the browser.
  if (answer.status >= 500) {
    tell();
    again();
    return;
  }
  localStorage.setItem(drawer(), JSON.stringify(unsent().filter((each) => each.id !== first.id)));
  tell();
  if (unsent().length) {
    send();
    return;
  }
  held = false;
  const screen = (path) => path.split("/")[1];
  if (answer.ok && screen(first.path) !== screen(location.pathname)) return;
  const address = answer.headers.get("HX-Replace-Url") || answer.headers.get("HX-Push-Url");
  if (address) history.replaceState(null, "", address);
  htmx.swap("#page", page, { swapStyle: "outerHTML" }, { select: "#page" });
}

for (const name of ["htmx:sendError", "htmx:sendAbort", "htmx:timeout"]) {
  document.addEventListener(name, (event) => {
    const { requestConfig, elt } = event.detail;
    if (requestConfig.verb === "post" && elt.closest("[data-decision]")) keep(requestConfig);
    else state("mechtag does not answer. Nothing was saved; try again.", true);
  });
}

// If a person closes the page before the server has answered, the next page sends the decision again.
window.addEventListener("pagehide", () => {
  if (onItsWay) store(onItsWay);
});

// What a person wrote stays on the page if it was refused, so that the person can shorten or copy it.
function keepTexts(event, message) {
  const written = [...(event.detail.requestConfig.elt?.querySelectorAll("textarea:not([hidden]), input:not([type])") ?? [])];
  if (!message || !written.some((field) => field.value.trim())) return;
  event.detail.shouldSwap = false;
  next.length = 0;
  state(`Not saved. ${message}`, true);
  document.getElementById("saved")?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig } = event.detail;
  const decision = requestConfig.elt?.closest("[data-decision]");
  const ended = xhr.status === 401;
  if (requestConfig.verb === "post" && !ended && !(xhr.status >= 500 && decision)) {
    keepTexts(event, refusal(xhr.responseText));
  }
  if (requestConfig.verb !== "post" || !(ended || (xhr.status >= 500 && decision))) return;
  event.detail.shouldSwap = false;
  if (!ended) {
    keep(requestConfig);
    return;
  }
  if (decision) store(requestConfig);
  signedOut();
});

arrive();
if (unsent().length) {
  tell();
  send();
}
