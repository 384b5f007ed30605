/* Sends requests, with a key where the server wants one. The key is asked for once, kept for as long
   as this tab is open, and sent to this server alone. */

const KEPT = "mien-key";

/* `options` makes the options of fetch anew for each try: a person takes time to find a key. */
export const request = async (path, options) => {
  const sent = sessionStorage.getItem(KEPT);
  const response = await fetch(path, withKey(options(), sent));
  if (response.status !== 401) return response;
  if (sent && sent === sessionStorage.getItem(KEPT)) sessionStorage.removeItem(KEPT);
  const known = sessionStorage.getItem(KEPT) || (await askKey(Boolean(sent)));
  return known ? request(path, options) : response;
};

const withKey = (options, key) =>
  key ? { ...options, headers: { ...options.headers, Authorization: `Bearer ${key}` } } : options;

let asking = null; // the dialog that is open, so that two requests do not open two

/* Whether a key was given. */
function askKey(wrong) {
  document.getElementById("wrong").hidden = !wrong;
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key");
    dialog.addEventListener("close", () => {
      const given = dialog.querySelector("input").value.trim();
      dialog.querySelector("input").value = "";
      asking = null;
      if (dialog.returnValue === "send" && given) sessionStorage.setItem(KEPT, given);
      resolve(dialog.returnValue === "send" && Boolean(given));
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
  return asking;
}
