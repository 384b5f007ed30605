/* Sends requests, with an API key where the server needs one. The user enters the key once; it is
   stored until this tab is closed, and sent to this server only. */

const STORAGE_NAME = "mien-key";
const IN_ADDRESS = "#key="; // an address with a key, as `mien studio` prints it

if (location.hash.startsWith(IN_ADDRESS)) {
  sessionStorage.setItem(STORAGE_NAME, location.hash.slice(IN_ADDRESS.length));
  history.replaceState(null, "", location.pathname);
}

/* `options` makes the options of fetch for each try, as time-outs start with it. */
export const request = async (path, options) => {
  const sent = sessionStorage.getItem(STORAGE_NAME);
  const response = await fetch(path, withKey(options(), sent));
  if (response.status !== 401) return response;
  if (sent && sent === sessionStorage.getItem(STORAGE_NAME)) sessionStorage.removeItem(STORAGE_NAME);
  const key = sessionStorage.getItem(STORAGE_NAME) || (await askKey(Boolean(sent)));
  return key ? request(path, options) : response;
};

/* Whether this tab has a key. */
export const hasKey = () => Boolean(sessionStorage.getItem(STORAGE_NAME));

const withKey = (options, key) =>
  key ? { ...options, headers: { ...options.headers, Authorization: `Bearer ${key}` } } : options;

let openDialog = null; // the open dialog, so that two requests do not open two

/* Returns whether the user entered a key. */
function askKey(wrong) {
  document.getElementById("key_error").hidden = !wrong;
  openDialog ??= new Promise((resolve) => {
    const dialog = document.getElementById("key");
    dialog.addEventListener("close", () => {
      const entered = dialog.querySelector("input").value.trim();
      dialog.querySelector("input").value = "";
      openDialog = null;
      if (dialog.returnValue === "send" && entered) sessionStorage.setItem(STORAGE_NAME, entered);
      resolve(dialog.returnValue === "send" && Boolean(entered));
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
  return openDialog;
}
