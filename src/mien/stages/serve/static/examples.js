/* Lines that give the same answer without the page, and the answer as JSON, each to copy. */

import { hasKey } from "./key.js";
import { make } from "./dom.js";

/* The text of each example by its title. */
export function examples(task, file, answer) {
  const address = new URL(`predict/${task}`, document.baseURI).href;
  const name = /^[\w.-][\w. -]*$/.test(file) ? file : "picture.jpg";
  const shown = [
    ["curl", curl(address, name)],
    ["Python", python(address, name)],
    ["JSON", JSON.stringify(answer, null, 2)],
  ];
  return shown.map(([title, text]) => block(title, text));
}

const curl = (address, name) =>
  `curl ${hasKey() ? '-H "Authorization: Bearer $MIEN_KEY" ' : ""}-F 'file=@${name}' ${address}`;

const python = (address, name) => [
  ...(hasKey() ? ["import os"] : []),
  "import requests",
  "",
  `with open("${name}", "rb") as picture:`,
  `    answer = requests.post("${address}", files={"file": picture}${hasKey()
    ? ', headers={"X-API-Key": os.environ["MIEN_KEY"]}' : ""})`,
  "print(answer.json())",
].join("\n");

function block(title, text) {
  const part = make("div", { className: "example" });
  const code = make("pre", { tabIndex: 0 }, text);
  const button = make("button", { type: "button" }, `Copy ${title}`);
  button.addEventListener("click", () => copy(code, button, title));
  part.append(button, code);
  part.dataset.example = title;
  return part;
}

/* Browsers allow it to pages from this machine or over https; elsewhere the text is selected. */
async function copy(code, button, title) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => { button.textContent = `Copy ${title}`; }, 2000);
}
