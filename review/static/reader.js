// Keys, focus after each step, time spent on a record, and decisions that could not be sent. Pages work without it.

const RETRY_MS = 2000;
// Nobody can have read a record this soon; a key that arrives earlier was meant for the one before.
const TOO_SOON_MS = 150;

let shown = performance.now();

function inField(target) {
  return target.closest("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}

function nameOf(event) {
  const key = event.key === " " ? "space" : event.key.toLowerCase();
  return (event.shiftKey && key.length === 1 && key !== "?" ? "shift+" : "") + key;
}

document.addEventListener("keydown", (event) => {
  const undoes = event.key.toLowerCase() === "z" && event.ctrlKey && !event.altKey && !event.metaKey;
  if (event.repeat || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (inField(event.target)) return;
  if (!undoes && (event.ctrlKey || event.altKey || event.metaKey)) return;
  const name = undoes ? (event.shiftKey ? "shift+u" : "u") : nameOf(event);
  const control = document.querySelector(`[data-key="${CSS.escape(name)}"]`);
  if (!control || control.disabled || performance.now() - shown < TOO_SOON_MS) return;
  event.preventDefault();
  if (control.matches("input:not([type=radio]):not([type=checkbox]), textarea, select")) control.focus();
  else control.click();
});

function arrive() {
  shown = performance.now();
  const heading = document.querySelector("#main [data-focus]") || document.querySelector("#main h1");
  if (heading) {
    heading.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

function state(text, failed) {
  const place = document.getElementById("saved");
  if (!place) return;
  place.textContent = text;
  place.toggleAttribute("data-failed", failed);
}

document.addEventListener("submit", (event) => {
  for (const field of event.target.querySelectorAll("[data-seconds]")) {
    field.value = ((performance.now() - shown) / 1000).toFixed(1);
  }
}, true);

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.requestConfig.verb === "post") state("Saving", false);
});

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target.id === "page") arrive();
});

document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful && event.detail.requestConfig.verb === "post") state("All saved", false);
});

// The form carries an id of its own, so sending it again cannot write it twice.
document.addEventListener("htmx:sendError", (event) => {
  const form = event.detail.elt.closest("form");
  if (!form || event.detail.requestConfig.verb !== "post") {
    state("mechtag does not answer", true);
    return;
  }
  state("1 decision not saved yet, trying again", true);
  const { path, parameters } = event.detail.requestConfig;
  setTimeout(() => {
    const values = parameters instanceof FormData ? Object.fromEntries(parameters) : parameters;
    htmx.ajax("post", path, { source: form, values, target: "#page", select: "#page", swap: "outerHTML" });
  }, RETRY_MS);
});

arrive();
