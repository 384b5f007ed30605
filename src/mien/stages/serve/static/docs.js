/* Starts Swagger UI on the server's own description. Nothing is fetched from elsewhere:
   validatorUrl would otherwise name a public service that checks the description. */
"use strict";

window.addEventListener("DOMContentLoaded", async () => {
  const spec = await (await fetch("openapi.json")).json();
  // A proxy may serve this page below a prefix of the path; its requests go there too.
  const server = new URL(".", window.location.href).href.replace(/\/$/, "");
  window.SwaggerUIBundle({
    spec: { ...spec, servers: [{ url: server }] },
    dom_id: "#swagger-ui",
    validatorUrl: null,
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
  });
});
