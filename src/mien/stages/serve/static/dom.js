/* Small parts that every view uses. */

export const at = (id) => document.getElementById(id);

export function make(tag, properties = {}, text = "") {
  const element = Object.assign(document.createElement(tag), properties);
  if (text) element.textContent = text;
  return element;
}

/* A copy of the only element of a template. */
export const copyOf = (id) => at(id).content.firstElementChild.cloneNode(true);

export const words = (name) => name?.replaceAll("_", " ");
/* With as many decimals as tell the share from 0 and 1. */
export const percent = (share) => {
  const decimals = share === 0 || share === 1 ? 0 : share > 0.999 || share < 0.01 ? 2 : 1;
  return `${(100 * share).toFixed(decimals)} %`;
};

/* For screen readers: the newest answer in one sentence. */
export const say = (text) => { at("said").textContent = text; };

export function showTrouble(element, title, detail = "") {
  element.hidden = !title;
  element.textContent = [title, detail].filter(Boolean).join(". ");
}
