/* Sends requests, with a key where the server wants one. The key is asked for once, kept for as long
   as this tab is open, and sent to this server alone. */

const KEPT = "mien-key";

export const request = async (path, options) => {
  const response = await fetch(path, withKey(options));
  if (response.status !== 401) return response;
  sessionStorage.removeItem(KEPT);
  return (await askKey()) ? request(path, options) : response;
};

function withKey(options) {
  const key = sessionStorage.getItem(KEPT);
  return key ? { ...options, headers: { ...options.headers, Authorization: `Bearer ${key}` } } : options;
}

let asking = null; // the dialog that is open, so that two requests do not open two

/* Whether a key was given. */
function askKey() {
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
