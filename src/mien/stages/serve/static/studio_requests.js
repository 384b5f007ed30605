/* Requests to the studio: JSON values come back, and a problem is shown on the page. */

import { at, make, showTrouble } from "./dom.js";
import { request } from "./key.js";

const trouble = at("trouble");
let explained = false; // by other code than `send`: stays until the next change

/* Shows what is wrong although requests succeed. */
export function explain(title, detail) {
  explained = true;
  showTrouble(trouble, title, detail);
}

/* `body` is a Blob, or JSON values. Returns the answer, or null after a problem. */
export async function ask(method, path, body = undefined) {
  const sent = body === undefined || body instanceof Blob ? body : JSON.stringify(body);
  const response = await send(path, { method, body: sent });
  return response && response.json();
}

/* Lets the browser save a file of the studio. */
export async function save(path) {
  const response = await send(path, {});
  if (!response) return;
  const name = response.headers.get("Content-Disposition").split('"')[1];
  const address = URL.createObjectURL(await response.blob());
  make("a", { href: address, download: name }).click();
  URL.revokeObjectURL(address);
}

async function send(path, options) {
  try {
    const response = await request(`studio/${path}`, () => options);
    if (response.ok) {
      if (explained && (options.method ?? "GET") === "GET") return response;
      explained = false;
      showTrouble(trouble, "");
      return response;
    }
    explained = false;
    const problem = await response.json();
    showTrouble(trouble, problem.title, problem.detail);
  } catch {
    showTrouble(trouble, "The studio does not respond", "Is it still running?");
  }
  return null;
}
