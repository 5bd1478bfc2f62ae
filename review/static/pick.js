// Code: choose a label, move through the sentences, and send an answer as soon as it is given.

let current = 0; // number of the sentence that had the focus last
let awaits = null; // what to do with the next key: the letter of a label, or the number of a role

const cards = () => [...document.querySelectorAll("[data-label]")];
const lines = () => [...document.querySelectorAll("[data-marks]")];

const announce = (text) => document.dispatchEvent(new CustomEvent("announce", { detail: text }));

function choose(card) {
  if (!card) return;
  const name = card.querySelector("h2").firstChild.textContent.trim();
  for (const other of cards()) other.toggleAttribute("data-chosen", other === card);
  for (const field of document.querySelectorAll("[data-chosen-label]")) field.value = card.dataset.label;
  const title = document.querySelector("[data-chosen-name]");
  if (title) title.textContent = name;
  for (const line of lines()) {
    line.setAttribute("aria-pressed", line.dataset.marks.split(" ").includes(card.dataset.label));
    line.classList.toggle("pointed", line.dataset.points.split(" ").includes(card.dataset.label));
  }
  if (document.activeElement.closest("[data-label]")) card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
  announce(`${name} is chosen`);
}

function step(by) {
  const all = cards();
  choose(all[all.findIndex((card) => card.hasAttribute("data-chosen")) + by]);
}

function move(by) {
  const all = lines();
  const onLine = document.activeElement.matches("[data-marks]");
  current = Math.min(Math.max(onLine ? current + by : current, 0), all.length - 1);
  all[current]?.focus();
}

// Send a form of a page that has just been replaced: htmx prepares its forms a moment later.
function send(form) {
  window.htmx?.process(form);
  form.requestSubmit();
}

// Set the sign of the current sentence for the chosen label, or remove it if the sentence has this sign already.
function sign(name) {
  const line = lines()[current];
  const form = document.querySelector("[data-sign]");
  if (!line || !form) return;
  line.focus();
  const { label, sentence, sign } = form.elements;
  sentence.value = line.value;
  sign.value = document.getElementById(`sign-${label.value}-${line.value}`)?.value === name ? "" : name;
  send(form);
}

// Give the current sentence the role with a number for the chosen label, or remove it if the sentence has this role.
function giveRole(key) {
  const line = lines()[current];
  const form = document.querySelector("[data-role]");
  const name = form?.dataset.keys.split(" ")[Number(key) - 1];
  if (!line || !name) return false;
  line.focus();
  const { label, sentence } = form.elements;
  const role = form.querySelector("[data-given-role]");
  sentence.value = line.value;
  role.value = name;
  const button = document.getElementById(`role-${label.value}-${line.value}-${name}`);
  role.name = button?.getAttribute("aria-pressed") === "true" ? "remove" : "role";
  send(form);
  return true;
}

function askRole() {
  awaits = giveRole;
  announce(`Press the number of a role: ${document.getElementById("role-numbers").textContent}`);
}

function chooseByLetter(key) {
  const card = cards().find((each) => each.dataset.letter === key.toLowerCase());
  choose(card);
  return Boolean(card);
}

const acts = {
  "previous-label": () => step(-1),
  "next-label": () => step(1),
  "find-label": () => { awaits = chooseByLetter; announce("Press the letter of a label"); },
  role: askRole,
  "previous-sentence": () => move(-1),
  "next-sentence": () => move(1),
  "sign-present": () => sign("present"),
  "sign-absent": () => sign("absent"),
  "sign-unclear": () => sign("unclear"),
  mark: () => { lines()[current]?.focus(); lines()[current]?.click(); },
};

document.addEventListener("click", (event) => {
  const control = event.target.closest("[data-act]");
  if (control) acts[control.dataset.act]();
  const link = event.target.closest("[data-choose]");
  if (!link) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  choose(link.closest("[data-label]"));
}, true);

document.addEventListener("keydown", (event) => {
  if (!awaits || event.repeat) return;
  const take = awaits;
  awaits = null;
  if (take(event.key)) event.preventDefault();
}, true);

document.addEventListener("focusin", (event) => {
  if (event.target.matches("[data-marks]")) current = lines().indexOf(event.target);
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-send-on-change]");
  if (form) form.requestSubmit();
});

document.addEventListener("toggle", (event) => {
  if (event.target.id === "rest" && event.target.open) event.target.querySelector("button").focus();
}, true);

function unveil() {
  for (const tools of document.querySelectorAll("[data-scripted]")) tools.hidden = false;
}

document.addEventListener("htmx:afterSettle", unveil);
unveil();
