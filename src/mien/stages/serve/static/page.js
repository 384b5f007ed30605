/* The web page: its views, and the models of the server. Each view has a file of its own. */

import { setCameraModels, stopCamera } from "./camera.js";
import { at, make, showTrouble } from "./dom.js";
import { watchModels } from "./models.js";
import { setPictureModels } from "./picture.js";

const [views, trouble, laws] = ["views", "trouble", "laws"].map(at);

function showView() {
  const name = location.hash === "#camera" ? "camera" : "picture";
  for (const link of views.querySelectorAll("a")) {
    const chosen = link.hash === `#${name}`;
    at(`${link.hash.slice(1)}_view`).hidden = !chosen;
    if (chosen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  laws.hidden = name === "camera"; // the notice of the camera has them
  if (name !== "camera") stopCamera();
}

function useModels({ models, detail }) {
  showTrouble(trouble, detail && "Not every model is ready", detail);
  setPictureModels(models);
  setCameraModels(models);
  const notices = models.map((model) => model.notice).filter(Boolean);
  for (const list of document.querySelectorAll(".laws")) {
    list.replaceChildren(...notices.map((notice) => make("p", {}, notice)));
  }
}

addEventListener("hashchange", showView);
showView();
watchModels(useModels);
