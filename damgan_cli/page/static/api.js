// What the server is asked. Addresses are relative, so that they begin with the page's token.

export class Refused extends Error {
  constructor(status, error) {
    super([error.message, error.hint].filter(Boolean).join(" "));
    this.status = status;
    this.exists = Boolean(error.exists);
  }
}

async function answer(response) {
  if (response.ok) return response;
  let error;
  try {
    error = (await response.json()).error;
  } catch {
    error = { message: `The server answered ${response.status}.`, hint: null };
  }
  throw new Refused(response.status, error);
}

async function ask(address, options) {
  try {
    return await answer(await fetch(`api/photos${address}`, options));
  } catch (problem) {
    if (problem instanceof Refused || problem.name === "AbortError") throw problem;
    throw new Refused(0, { message: "damgan does not answer.", hint: "Is it still running?" });
  }
}

const json = async (address, options) => (await ask(address, options)).json();

export const listing = () => json("");
export const state = (number) => json(`/${number}`);
export const thumbnail = (number) => `api/photos/${number}/thumbnail`;
export const saved = (number, what) => `api/photos/${number}/saved?what=${what}`;

export const post = (number, action, document) =>
  json(`/${number}/${action}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(document),
  });

export const upload = (file) =>
  json(`?name=${encodeURIComponent(file.name)}`, {
    method: "PUT",
    headers: { "Content-Type": "application/octet-stream" },
    body: file,
  });

export async function view(number, layer, box, longest, signal) {
  const response = await ask(`/${number}/view?layer=${layer}&box=${box}&longest=${longest}`, { signal });
  return createImageBitmap(await response.blob());
}
