// The Azure SDK for JavaScript against keyvault-mock, with the challenge verification that it does by default.
//
// Reads the environment that `keyvault-mock --print-env` prints, and SDK_VAULT_URL, an address of the form
// https://NAME.vault.localhost:PORT. Ends with the number of checks made; the first failure ends it.

import dns from "node:dns";
import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import http from "node:http";
import https from "node:https";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";

const env = process.env;
const url = env.SDK_VAULT_URL;
const vault = new URL(url).hostname.split(".")[0];
const prefix = "js-" + randomBytes(4).toString("hex");
// The service's polling takes two seconds a step; the emulator is done at once.
const poll = { intervalInMs: 20 };
let made = 0;

function check(holds, what) {
  made += 1;
  if (!holds) throw new Error(`check failed: ${what}`);
}

// The call has to fail with this status, code and inner code. Gives the error.
async function refused(what, status, code, inner, call) {
  let error;
  try {
    await call();
  } catch (caught) {
    error = caught;
  }
  check(error !== undefined, `${what} was not refused`);
  check(error.statusCode === status, `${what}: status ${error.statusCode} ${error.message}`);
  check(error.code === code, `${what}: code ${error.code}`);
  const found = error.details?.error?.innerError?.code;
  check(found === inner, `${what}: inner code ${found}`);
  return error;
}

// Not every resolver knows that *.localhost is this machine (RFC 6761), so this process is told.
function resolveLocalhostNames() {
  const system = dns.lookup;
  dns.lookup = (host, options, callback) => {
    const name = typeof host === "string" && host.endsWith(".localhost") ? "127.0.0.1" : host;
    return system(name, options, callback);
  };
}

function send(address, options, body) {
  const transport = address.startsWith("https:") ? https : http;
  return new Promise((resolve, reject) => {
    const request = transport.request(address, options, (reply) => {
      let text = "";
      reply.setEncoding("utf8");
      reply.on("data", (part) => (text += part));
      reply.on("end", () => resolve({ status: reply.statusCode, json: JSON.parse(text) }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function admin(method, path, body) {
  const headers = { authorization: `Bearer ${env.KEYVAULT_MOCK_ADMIN_TOKEN}` };
  const reply = await send(env.KEYVAULT_MOCK_ADMIN_URL + path, { method, headers }, body && JSON.stringify(body));
  if (reply.status !== 200) throw new Error(`admin API: ${method} ${path}: ${JSON.stringify(reply.json)}`);
  return reply.json;
}

// Client credentials, as @azure/identity sends them, without its 30 packages.
class ClientSecret {
  tokenCount = 0;

  async getToken(scopes, options) {
    const form = new URLSearchParams({
      grant_type: "client_credentials",
      client_id: env.AZURE_CLIENT_ID,
      client_secret: env.AZURE_CLIENT_SECRET,
      scope: [scopes].flat().join(" "),
    });
    const address = `${env.AZURE_AUTHORITY_HOST}/${options.tenantId ?? env.AZURE_TENANT_ID}/oauth2/v2.0/token`;
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const reply = await send(address, { method: "POST", headers }, form.toString());
    if (reply.status !== 200) throw new Error(reply.json.error_description);
    this.tokenCount += 1;
    return { token: reply.json.access_token, expiresOnTimestamp: Date.now() + reply.json.expires_in * 1000 };
  }
}

const credential = new ClientSecret();
const once = { retryOptions: { maxRetries: 0 } };
const client = new KeyClient(url, credential, once);
const crypto = (key) => new CryptographyClient(key.id ?? key, credential, once);

async function createAndRead() {
  const key = await client.createRsaKey(`${prefix}-rsa`, { keySize: 2048, tags: { owner: "tests" } });
  check(key.id.startsWith(`${url}/keys/${key.name}/`), `id ${key.id}`);
  check(/^[0-9a-f]{32}$/.test(key.properties.version), `version ${key.properties.version}`);
  check(key.keyType === "RSA" && key.key.n.length === 256, "an RSA key of 2048 bits");
  check(key.properties.enabled && key.properties.tags.owner === "tests", "enabled, tagged");
  check(key.properties.recoveryLevel === "Recoverable+Purgeable", key.properties.recoveryLevel);
  check((await client.getKey(key.name)).id === key.id, "the latest version is the one");
  check((await client.getKey(key.name, { version: key.properties.version })).id === key.id, "by version");
  const error = await refused("a key that is not there", 404, "KeyNotFound", undefined, () => client.getKey("nowhere"));
  check(error.message.includes("nowhere"), error.message);
  return key;
}

async function wrapAndUnwrap(key) {
  const dek = randomBytes(32);
  for (const algorithm of ["RSA-OAEP-256", "RSA-OAEP", "RSA1_5"]) {
    const wrapped = await crypto(key).wrapKey(algorithm, dek);
    check(wrapped.keyID === key.id, `${algorithm} wrapped by ${wrapped.keyID}`);
    const unwrapped = await crypto(key).unwrapKey(algorithm, wrapped.result);
    check(Buffer.compare(Buffer.from(unwrapped.result), dek) === 0, `${algorithm} unwrapped`);
    const altered = Buffer.from(wrapped.result);
    altered[10] ^= 1;
    if (algorithm === "RSA-OAEP-256") {
      await refused("an altered blob", 400, "BadParameter", undefined, () => crypto(key).unwrapKey(algorithm, altered));
    }
  }
  const secret = await crypto(key).encrypt({ algorithm: "RSA-OAEP-256", plaintext: Buffer.from("plain") });
  const plain = await crypto(key).decrypt({ algorithm: "RSA-OAEP-256", ciphertext: secret.result });
  check(Buffer.from(plain.result).toString() === "plain", "encrypt, decrypt");
  const ec = await client.createEcKey(`${prefix}-ec`, { curve: "P-384" });
  const digest = createHash("sha384").update("message").digest();
  const signature = (await crypto(ec).sign("ES384", digest)).result;
  check((await crypto(ec).verify("ES384", digest, signature)).result, "signed");
  const other = createHash("sha384").update("another").digest();
  check(!(await crypto(ec).verify("ES384", other, signature)).result, "another message");
}

async function importAKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = privateKey.export({ format: "jwk" });
  const parts = Object.fromEntries(
    ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map((name) => [name, Buffer.from(jwk[name], "base64url")]),
  );
  const key = await client.importKey(`${prefix}-imported`, {
    kty: "RSA",
    keyOps: ["wrapKey", "unwrapKey"],
    ...parts,
  });
  check(Buffer.compare(Buffer.from(key.key.n), parts.n) === 0 && !key.key.d, "the public half and nothing else");
  const dek = randomBytes(32);
  const wrapped = (await crypto(key).wrapKey("RSA-OAEP-256", dek)).result;
  const unwrapped = (await crypto(key).unwrapKey("RSA-OAEP-256", wrapped)).result;
  check(Buffer.compare(Buffer.from(unwrapped), dek) === 0, "the imported key unwraps");
  let refusal;
  await crypto(key)
    .sign("RS256", randomBytes(32))
    .catch((error) => (refusal = error));
  check(refusal !== undefined, "an operation that key_ops leaves out");
}

async function rotate(key) {
  const dek = randomBytes(32);
  const wrapped = (await crypto(key).wrapKey("RSA-OAEP-256", dek)).result;
  const rotated = await client.rotateKey(key.name);
  check(rotated.properties.version !== key.properties.version, "a new version");
  check((await client.getKey(key.name)).id === rotated.id, "the latest is the new one");
  const unwrapped = (await crypto(key).unwrapKey("RSA-OAEP-256", wrapped)).result;
  check(Buffer.compare(Buffer.from(unwrapped), dek) === 0, "the old version unwraps what it wrapped");
  const versions = [];
  for await (const known of client.listPropertiesOfKeyVersions(key.name)) versions.push(known.version);
  check(versions.length === 2 && versions.includes(rotated.properties.version), `versions ${versions}`);
  await client.updateKeyRotationPolicy(key.name, {
    expiresIn: "P90D",
    lifetimeActions: [
      { action: "Rotate", timeAfterCreate: "P30D" },
      { action: "Notify", timeBeforeExpiry: "P10D" },
    ],
  });
  const policy = await client.getKeyRotationPolicy(key.name);
  check(policy.expiresIn === "P90D", `expires in ${policy.expiresIn}`);
  const action = (name) => policy.lifetimeActions.find((known) => known.action.toLowerCase() === name);
  check(action("rotate").timeAfterCreate === "P30D", "rotates after 30 days");
  check(action("notify").timeBeforeExpiry === "P10D", "gives notice 10 days before");
}

async function disable(key) {
  const dek = randomBytes(32);
  const wrapped = (await crypto(key).wrapKey("RSA-OAEP-256", dek)).result;
  const version = key.properties.version;
  await client.updateKeyProperties(key.name, version, { enabled: false });
  check(!(await client.getKey(key.name, { version })).properties.enabled, "disabled, and it can be read");
  const error = await refused("unwrapping with a disabled key", 403, "Forbidden", "KeyDisabled", () =>
    crypto(key).unwrapKey("RSA-OAEP-256", wrapped),
  );
  check(error.message === "Operation unwrapKey is not allowed on a disabled key.", error.message);
  const { records } = await admin("GET", "/audit?operation=KeyUnwrap");
  const last = records[records.length - 1];
  check(last.properties.httpStatusCode === 403, "the refusal is in the audit log");
  check(last.correlationId === error.request.headers.get("x-ms-client-request-id"), "with the client's id");
  await client.updateKeyProperties(key.name, version, { enabled: true });
  const unwrapped = (await crypto(key).unwrapKey("RSA-OAEP-256", wrapped)).result;
  check(Buffer.compare(Buffer.from(unwrapped), dek) === 0, "enabled again, it unwraps");
  // The service would unwrap with an expired key; this SDK reads the key first and does not even ask.
  await admin("PATCH", `/vaults/${vault}/keys/${key.name}/${version}`, { exp: 1_000_000_000 });
  let late;
  await crypto(key)
    .unwrapKey("RSA-OAEP-256", wrapped)
    .catch((caught) => (late = caught));
  check(late?.message.includes("expired at 2001-09-09"), `expired: ${late?.message}`);
  await admin("PATCH", `/vaults/${vault}/keys/${key.name}/${version}`, { exp: null });
}

async function deleteRecoverPurge() {
  const name = `${prefix}-gone`;
  const key = await client.createRsaKey(name, { keySize: 2048 });
  const deleted = await (await client.beginDeleteKey(name, poll)).pollUntilDone();
  check(deleted.properties.recoveryId === `${url}/deletedkeys/${name}`, deleted.properties.recoveryId);
  check(deleted.properties.scheduledPurgeDate > deleted.properties.deletedOn, "it will be purged later");
  await refused("a deleted key", 404, "KeyNotFound", undefined, () => client.getKey(name));
  await refused("a name that a deleted key has", 409, "Conflict", "ObjectIsDeletedButRecoverable", () =>
    client.createRsaKey(name),
  );
  const names = [];
  for await (const known of client.listDeletedKeys()) names.push(known.name);
  check(names.includes(name), "it is among the deleted ones");
  const recovered = await (await client.beginRecoverDeletedKey(name, poll)).pollUntilDone();
  check(recovered.id === key.id, "recovered with its version");
  check((await client.getKey(name)).id === key.id, "and there again");
  await (await client.beginDeleteKey(name, poll)).pollUntilDone();
  await client.purgeDeletedKey(name);
  await refused("a purged key", 404, "KeyNotFound", undefined, () => client.getDeletedKey(name));
  check((await client.createRsaKey(name)).id !== key.id, "the name is free");
}

async function backupAndRestore() {
  const name = `${prefix}-backup`;
  const key = await client.createRsaKey(name, { keySize: 2048 });
  const dek = randomBytes(32);
  const wrapped = (await crypto(key).wrapKey("RSA-OAEP-256", dek)).result;
  const blob = await client.backupKey(name);
  check(blob.length > 100, "a backup");
  let error;
  await client.restoreKeyBackup(blob).catch((caught) => (error = caught));
  check(error?.statusCode === 409 && error.code === "Conflict", "a backup does not replace its key");
  await (await client.beginDeleteKey(name, poll)).pollUntilDone();
  await client.purgeDeletedKey(name);
  const restored = await client.restoreKeyBackup(blob);
  check(restored.id === key.id, "the version comes back under its id");
  const unwrapped = (await crypto(restored).unwrapKey("RSA-OAEP-256", wrapped)).result;
  check(Buffer.compare(Buffer.from(unwrapped), dek) === 0, "and unwraps");
}

async function pages() {
  const names = Array.from({ length: 7 }, (_, index) => `${prefix}-page-${index}`);
  for (const name of names) await client.createEcKey(name, { curve: "P-256" });
  const seen = new Set();
  let pageCount = 0;
  for await (const page of client.listPropertiesOfKeys().byPage({ maxPageSize: 3 })) {
    check(page.length <= 3, `a page of ${page.length}`);
    pageCount += 1;
    for (const known of page) {
      check(!seen.has(known.name), `${known.name} twice`);
      seen.add(known.name);
    }
  }
  check(pageCount >= 3 && names.every((name) => seen.has(name)), `${pageCount} pages, ${seen.size} names`);
}

async function rightsAndFaults(key) {
  await admin("PUT", `/vaults/${vault}/firewall`, { default_allow: false });
  await refused("an address that is kept out", 403, "Forbidden", "ForbiddenByFirewall", () => client.getKey(key.name));
  await admin("PUT", `/vaults/${vault}/firewall`, { default_allow: true });
  await admin("PUT", `/vaults/${vault}/model`, { model: "policy" });
  await refused("nobody has a policy", 403, "Forbidden", "ForbiddenByPolicy", () => client.getKey(key.name));
  await admin("PUT", `/vaults/${vault}/model`, { model: "rbac" });
  // Revoked tokens: the claims challenge makes the SDK fetch another one by itself.
  const before = credential.tokenCount;
  await admin("POST", `/principals/${env.AZURE_CLIENT_ID}/revoke`, {});
  check((await client.getKey(key.name)).name === key.name, "over a revocation of tokens");
  check(credential.tokenCount > before, "with another token");
  await admin("POST", "/faults", {
    match: { key: key.name },
    fault: { kind: "status", status: 429, retry_after_s: 1 },
    count: 1,
  });
  let error;
  await client.getKey(key.name).catch((caught) => (error = caught));
  check(error?.statusCode === 429, "throttled");
  check(error.response.headers.get("retry-after") === "1", "and told for how long");
  await admin("POST", "/faults", { match: { key: key.name }, fault: { kind: "reset" }, count: 1 });
  error = undefined;
  await client.getKey(key.name).catch((caught) => (error = caught));
  check(error?.code === "ECONNRESET", `reset: ${error?.code}`);
  await admin("POST", "/faults", { match: { key: key.name }, fault: { kind: "status", status: 503 }, count: 2 });
  const patient = new KeyClient(url, credential, { retryOptions: { maxRetries: 4, retryDelayInMs: 10 } });
  check((await patient.getKey(key.name)).name === key.name, "an SDK that retries gets over two 503");
  await admin("DELETE", "/faults");
}

resolveLocalhostNames();
const key = await createAndRead();
await wrapAndUnwrap(key);
await importAKey();
await rotate(key);
await disable(key);
await deleteRecoverPurge();
await backupAndRestore();
await pages();
await rightsAndFaults(key);
for (const serviceVersion of ["7.0", "7.5"]) {
  const older = new KeyClient(url, credential, { ...once, serviceVersion });
  check((await older.getKey(key.name)).name === key.name, `api-version ${serviceVersion}`);
}
console.log(`js: ${made} checks`);
