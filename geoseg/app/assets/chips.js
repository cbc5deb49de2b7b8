/* One sample point after another: keys and buttons tell the page what was seen. */

const BACK = "ArrowLeft";

function isTyping(event) {
  const target = event.composedPath()[0];
  return target.closest && target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
}

/* Once for each point: a second key before the next picture is there would be an answer to a place nobody has seen. */
function say(root, word) {
  const state = root.geoseg;
  if (state.told) return;
  state.told = true;
  state.component.setTriggerValue("answer", { number: state.component.data.number, word });
}

function press(root, event) {
  if (!root.isConnected || event.repeat || event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
  const choice = root.geoseg.component.data.choices.find((each) => each.key === event.key.toLowerCase());
  if (!choice && event.key !== BACK) return;
  event.preventDefault();
  say(root, choice ? choice.word : null);
}

function addButton(box, words, key, pressed, act) {
  const button = document.createElement("button"), hint = document.createElement("kbd");
  button.type = "button";
  hint.textContent = key;
  button.append(words, hint);
  if (pressed !== null) button.setAttribute("aria-pressed", pressed);
  button.addEventListener("click", act);
  box.append(button);
}

function show(root, data) {
  for (const name of ["near", "around"]) {
    const picture = root.querySelector(`[data-picture="${name}"]`);
    picture.src = data[name].url;
    picture.closest("figure").querySelector("figcaption").textContent = data[name].across;
  }
  const given = data.choices.find((choice) => choice.word === data.answer);
  root.querySelector(".now").textContent = `Point ${data.number}` + (given ? `: answered “${given.label}”` : "");
  const box = root.querySelector(".answers");
  box.replaceChildren();
  data.choices.forEach((choice) => addButton(box, choice.label, choice.key.toUpperCase(), choice.word === data.answer, () => say(root, choice.word)));
  addButton(box, "Back", "←", null, () => say(root, null));
}

export default function (component) {
  const root = component.parentElement.querySelector(".geoseg-chips");
  if (!component.data || !component.data.number) return;
  if (!root.geoseg) {
    root.geoseg = {};
    const listen = (event) => root.isConnected ? press(root, event) : document.removeEventListener("keydown", listen);
    document.addEventListener("keydown", listen);
  }
  Object.assign(root.geoseg, { component, told: false });
  show(root, component.data);
}
