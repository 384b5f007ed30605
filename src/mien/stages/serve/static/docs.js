/* Starts Swagger UI on the server's own description. Nothing is fetched from elsewhere:
   validatorUrl would otherwise name a public service that checks the description. */
"use strict";

window.addEventListener("DOMContentLoaded", () => {
  window.SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    validatorUrl: null,
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
  });
});
