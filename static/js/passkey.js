// Passkeys: ask the authenticator, put its answer into the form, send the form. WebAuthn Level 3, sections 5.1.3 and 5.1.4.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const keys = (list) => (list ?? []).map((each) => ({ ...each, id: bytes(each.id) }));

async function make({ publicKey }, alone) {
  const options = {
    ...publicKey, challenge: bytes(publicKey.challenge), user: { ...publicKey.user, id: bytes(publicKey.user.id) },
    excludeCredentials: keys(publicKey.excludeCredentials),
  };
  // Only a key that remembers whose it is, and asks for a finger or a PIN, can stand for name and password.
  options.authenticatorSelection = { ...options.authenticatorSelection, residentKey: alone ? "required" : "discouraged", requireResidentKey: alone };
  if (alone) options.authenticatorSelection.userVerification = "required";
  const made = await navigator.credentials.create({ publicKey: options });
  return answer(made, { attestationObject: text(made.response.attestationObject), transports: made.response.getTransports?.() ?? [] });
}

async function ask({ publicKey }) {
  const options = { ...publicKey, challenge: bytes(publicKey.challenge), allowCredentials: keys(publicKey.allowCredentials) };
  const given = await navigator.credentials.get({ publicKey: options });
  const { authenticatorData, signature, userHandle } = given.response;
  return answer(given, { authenticatorData: text(authenticatorData), signature: text(signature), userHandle: userHandle && text(userHandle) });
}

function answer(credential, response) {
  return {
    id: credential.id, rawId: text(credential.rawId), type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment,
    clientExtensionResults: credential.getClientExtensionResults(),
    response: { clientDataJSON: text(credential.response.clientDataJSON), ...response },
  };
}

// Options stand in the page where it is known who asks; else they are fetched when somebody wants to.
async function options(form) {
  const here = form.querySelector("#passkey");
  if (here) return JSON.parse(here.textContent);
  const found = await fetch(form.action, { headers: { Accept: "application/json" } });
  if (!found.ok) throw new Error(found.status);
  return found.json();
}

// Browsers know passkeys for host names only, and only where nobody can listen.
const possible = window.PublicKeyCredential && window.isSecureContext && !/^[\d.]+$|^\[/.test(location.hostname);
for (const form of document.querySelectorAll("[data-passkey]")) {
  const nowhere = form.querySelector("[data-nowhere]");
  if (nowhere) nowhere.hidden = possible;
  if (!possible) continue;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fault = form.querySelector("[data-fault]");
    fault.hidden = true;
    try {
      const given = await options(form);
      const credential = form.dataset.passkey === "make" ? await make(given.creation_options, form.passwordless.checked) : await ask(given.request_options);
      form.credential.value = JSON.stringify(credential);
      form.submit();
    } catch {
      fault.textContent = form.dataset.failed;
      fault.hidden = false;
    }
  });
  form.querySelector("button.primary")?.removeAttribute("disabled"); // sooner, it would send an empty form
}
