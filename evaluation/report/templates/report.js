"use strict";
// Evidence stands open in the page, so that nothing is lost without script; it is folded here.
const buttons = [...document.querySelectorAll("button[aria-controls]")];

function show(button, open) {
  const quotes = document.getElementById(button.getAttribute("aria-controls"));
  button.setAttribute("aria-expanded", String(open));
  quotes.hidden = !open;
  const row = quotes.closest("tr");
  row.hidden = [...row.querySelectorAll(".quotes")].every((other) => other.hidden);
}

for (const button of buttons) {
  show(button, false);
  button.addEventListener("click", () => show(button, button.getAttribute("aria-expanded") !== "true"));
}

for (const [name, open] of [["open-all", true], ["close-all", false]]) {
  const all = document.getElementById(name);
  if (all) {
    all.hidden = false;
    all.addEventListener("click", () => buttons.forEach((button) => show(button, open)));
  }
}

// On paper nothing can be opened, so all tables are printed.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
