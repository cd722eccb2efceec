// Shows /openapi.json as a page. Text only ever becomes text: nothing of the description is read as HTML.
"use strict";

function element(tag, text, parent) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

function fields(schema, parent) {
  const table = element("table", "", parent);
  const head = element("tr", "", table);
  for (const title of ["field", "type", "meaning"]) element("th", title, head);
  for (const [name, field] of Object.entries(schema.properties)) {
    const row = element("tr", "", table);
    element("code", name, element("td", "", row));
    element("td", [field.type].flat().join(" or ") || "", row);
    element("td", field.description || "", row);
  }
}

function operation(path, method, about, parent) {
  element("h2", `${method.toUpperCase()} ${path}`, parent);
  element("p", about.description || about.summary, parent);
  const body = about.requestBody && about.requestBody.content["application/json"];
  if (body) {
    if (body.schema.properties) fields(body.schema, parent);
    if (body.example) {
      const line = `curl ${location.origin}${path} \\\n  -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\\n  -d '${JSON.stringify(body.example)}'`;
      element("pre", line, parent);
    }
  }
  const answers = element("p", "Answers: ", parent);
  answers.append(Object.entries(about.responses).map(([status, answer]) => `${status} ${answer.description}`).join("; "));
}

fetch("/openapi.json").then((answer) => answer.json()).then((api) => {
  document.getElementById("intro").textContent = api.info.description;
  const main = document.getElementById("operations");
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, about] of Object.entries(methods)) operation(path, method, about, main);
});
