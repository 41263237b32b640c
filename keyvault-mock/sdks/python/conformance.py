"""The Azure SDK for Python against keyvault-mock, with the challenge verification that it does by default.

Reads the environment that `keyvault-mock --print-env` prints, and SDK_VAULT_URL, an address of the form
https://NAME.vault.localhost:PORT. Ends with the number of checks made; the first failure ends it with a traceback.
"""

import hashlib
import json
import os
import secrets
import socket
import tempfile
import urllib.error
import urllib.request

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity import ClientSecretCredential, ManagedIdentityCredential, WorkloadIdentityCredential
from azure.keyvault.keys import (
    ApiVersion,
    JsonWebKey,
    KeyClient,
    KeyRotationLifetimeAction,
    KeyRotationPolicy,
    KeyRotationPolicyAction,
)
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

URL = os.environ["SDK_VAULT_URL"]
CA = os.environ["REQUESTS_CA_BUNDLE"]
ADMIN = os.environ["KEYVAULT_MOCK_ADMIN_URL"]
TENANT = os.environ["AZURE_TENANT_ID"]
PREFIX = "py-" + secrets.token_hex(4)

made = 0


def check(holds, what):
    global made
    made += 1
    if not holds:
        raise AssertionError(what)


def refused(what, kind, status, code, inner, call):
    """The call has to fail with this status, code and inner code. Gives the error."""
    try:
        call()
    except kind as error:
        check(error.status_code == status, f"{what}: status {error.status_code}")
        check(error.error.code == code, f"{what}: code {error.error.code}")
        found = (error.error.innererror or {}).get("code")
        check(found == inner, f"{what}: inner code {found}")
        return error
    raise AssertionError(f"{what} was not refused")


def admin(method, path, body=None):
    request = urllib.request.Request(
        ADMIN + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer " + os.environ["KEYVAULT_MOCK_ADMIN_TOKEN"]},
    )
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def resolve_localhost_names():
    """Not every resolver knows that *.localhost is this machine (RFC 6761), so this process is told."""
    system = socket.getaddrinfo

    def getaddrinfo(host, *rest, **options):
        if isinstance(host, str) and host.endswith(".localhost"):
            host = "127.0.0.1"
        return system(host, *rest, **options)

    socket.getaddrinfo = getaddrinfo


def client_secret(secret=None):
    return ClientSecretCredential(
        TENANT,
        os.environ["AZURE_CLIENT_ID"],
        secret or os.environ["AZURE_CLIENT_SECRET"],
        disable_instance_discovery=True,
        connection_verify=CA,
        retry_total=0,
    )


def key_client(credential, **options):
    return KeyClient(URL, credential, connection_verify=CA, retry_total=0, **options)


def crypto(key, credential):
    return CryptographyClient(key, credential, connection_verify=CA, retry_total=0)


def create_and_read(client):
    key = client.create_rsa_key(PREFIX + "-rsa", size=2048, tags={"owner": "tests"})
    check(key.id.startswith(f"{URL}/keys/{key.name}/"), f"id {key.id}")
    check(len(key.properties.version) == 32, f"version {key.properties.version}")
    check(key.key_type == "RSA" and len(key.key.n) == 256, "an RSA key of 2048 bits")
    check(key.properties.enabled and key.properties.tags == {"owner": "tests"}, "enabled, tagged")
    check(key.properties.recovery_level == "Recoverable+Purgeable", key.properties.recovery_level)
    check(key.properties.recoverable_days == 90, f"{key.properties.recoverable_days} days")
    check(client.get_key(key.name).id == key.id, "the latest version is the one")
    check(client.get_key(key.name, key.properties.version).key.n == key.key.n, "by version")
    error = refused(
        "a key that is not there", ResourceNotFoundError, 404, "KeyNotFound", None, lambda: client.get_key("nowhere")
    )
    check("nowhere" in error.error.message, error.error.message)
    ec = client.create_ec_key(PREFIX + "-ec", curve="P-256")
    check(ec.key.crv == "P-256" and len(ec.key.x) == 32, "an EC key")
    return key


def wrap_and_unwrap(client, credential, key):
    dek = secrets.token_bytes(32)
    # The SDK wraps by itself once it has the public key; the vault has to be able to undo that.
    using = crypto(key, credential)
    wrapped = using.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, dek)
    unwrapped = using.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key)
    check(unwrapped.key == dek, "wrapped here, unwrapped there")
    check(unwrapped.key_id == key.id, f"unwrapped by {unwrapped.key_id}")
    # The client below does all of it in the vault.
    remote = client._client.wrap_key(
        key.name, key.properties.version, {"alg": "RSA-OAEP-256", "value": dek}
    )
    check(remote.kid == key.id and len(remote.result) == 256, "wrapped there")
    check(using.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, remote.result).key == dek, "and unwrapped there")
    for algorithm in (KeyWrapAlgorithm.rsa_oaep, KeyWrapAlgorithm.rsa1_5):
        wrapped = using.wrap_key(algorithm, dek)
        check(using.unwrap_key(algorithm, wrapped.encrypted_key).key == dek, f"{algorithm}")
    secret = using.encrypt(EncryptionAlgorithm.rsa_oaep_256, b"plain")
    check(using.decrypt(EncryptionAlgorithm.rsa_oaep_256, secret.ciphertext).plaintext == b"plain", "encrypt, decrypt")
    altered = bytes([wrapped.encrypted_key[0] ^ 1]) + wrapped.encrypted_key[1:]
    refused(
        "an altered blob",
        HttpResponseError,
        400,
        "BadParameter",
        None,
        lambda: using.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, altered),
    )
    ec = client.get_key(PREFIX + "-ec")
    digest = hashlib.sha256(b"message").digest()
    signature = crypto(ec, credential).sign(SignatureAlgorithm.es256, digest).signature
    check(crypto(ec, credential).verify(SignatureAlgorithm.es256, digest, signature).is_valid, "signed there")
    other = hashlib.sha256(b"another").digest()
    check(not crypto(ec, credential).verify(SignatureAlgorithm.es256, other, signature).is_valid, "another message")


def import_a_key(client, credential):
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
    public = private.public_numbers

    def number(value):
        return value.to_bytes((value.bit_length() + 7) // 8, "big")

    jwk = JsonWebKey(
        kty="RSA",
        key_ops=["wrapKey", "unwrapKey"],
        n=number(public.n),
        e=number(public.e),
        d=number(private.d),
        p=number(private.p),
        q=number(private.q),
        dp=number(private.dmp1),
        dq=number(private.dmq1),
        qi=number(private.iqmp),
    )
    key = client.import_key(PREFIX + "-imported", jwk)
    check(key.key.n == number(public.n) and key.key.d is None, "the public half and nothing else comes back")
    check(sorted(key.key_operations) == ["unwrapKey", "wrapKey"], f"{key.key_operations}")
    dek = secrets.token_bytes(32)
    using = crypto(key, credential)
    wrapped = using.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, dek).encrypted_key
    check(using.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == dek, "the imported key unwraps")
    refusal = None
    try:
        client._client.sign(key.name, key.properties.version, {"alg": "RS256", "value": b"\0" * 32})
    except HttpResponseError as error:
        refusal = error
    check(refusal is not None and refusal.status_code == 403, "an operation that key_ops leaves out")


def rotate(client, credential, key):
    old = crypto(key, credential)
    dek = secrets.token_bytes(32)
    wrapped = old.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, dek).encrypted_key
    new = client.rotate_key(key.name)
    check(new.properties.version != key.properties.version, "a new version")
    check(new.key.n != key.key.n, "a new key")
    check(client.get_key(key.name).id == new.id, "the latest is the new one")
    check(old.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == dek, "the old version unwraps what it wrapped")
    versions = {known.version for known in client.list_properties_of_key_versions(key.name)}
    check(versions == {key.properties.version, new.properties.version}, f"versions {versions}")
    policy = client.update_key_rotation_policy(
        key.name,
        KeyRotationPolicy(
            expires_in="P90D",
            lifetime_actions=[
                KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P30D"),
                KeyRotationLifetimeAction(KeyRotationPolicyAction.notify, time_before_expiry="P10D"),
            ],
        ),
    )
    check(policy.expires_in == "P90D", f"expires in {policy.expires_in}")
    read = client.get_key_rotation_policy(key.name)
    actions = {str(action.action).lower().split(".")[-1]: action for action in read.lifetime_actions}
    check(actions["rotate"].time_after_create == "P30D", "rotates after 30 days")
    check(actions["notify"].time_before_expiry == "P10D", "gives notice 10 days before")


def disable(client, credential, key):
    using = crypto(key, credential)
    dek = secrets.token_bytes(32)
    wrapped = using.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, dek).encrypted_key
    client.update_key_properties(key.name, key.properties.version, enabled=False)
    check(not client.get_key(key.name, key.properties.version).properties.enabled, "disabled, and it can be read")
    error = refused(
        "unwrapping with a disabled key",
        HttpResponseError,
        403,
        "Forbidden",
        "KeyDisabled",
        lambda: crypto(key, credential).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped),
    )
    check(error.error.message == "Operation unwrapKey is not allowed on a disabled key.", error.error.message)
    records = admin("GET", "/audit?operation=KeyUnwrap")["records"]
    last = records[-1]
    check(last["properties"]["httpStatusCode"] == 403, "the refusal is in the audit log")
    check(last["correlationId"] == error.response.request.headers["x-ms-client-request-id"], "with the client's id")
    check(last["identity"]["claim"]["appid"] == os.environ["AZURE_CLIENT_ID"], "and its name")
    client.update_key_properties(key.name, key.properties.version, enabled=True)
    check(using.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == dek, "enabled again, it unwraps")
    # An expired key wraps no more, and still unwraps: the service's rule, and a trap for its users.
    path = f"/vaults/{URL.split('/')[2].split('.')[0]}/keys/{key.name}/{key.properties.version}"
    admin("PATCH", path, {"exp": 1_000_000_000})
    check(using.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == dek, "expired, it unwraps")
    try:
        client._client.wrap_key(key.name, key.properties.version, {"alg": "RSA-OAEP-256", "value": dek})
        raise AssertionError("an expired key wrapped")
    except HttpResponseError as error:
        check(error.status_code == 403 and error.error.code == "Forbidden", f"{error.status_code}")
    admin("PATCH", path, {"exp": None})


def delete_recover_purge(client):
    name = PREFIX + "-gone"
    key = client.create_rsa_key(name, size=2048)
    deleted = client.begin_delete_key(name, _polling_interval=0.1).result()
    check(deleted.recovery_id == f"{URL}/deletedkeys/{name}", deleted.recovery_id)
    check(deleted.scheduled_purge_date > deleted.deleted_date, "it will be purged later")
    refused("a deleted key", ResourceNotFoundError, 404, "KeyNotFound", None, lambda: client.get_key(name))
    refused(
        "a name that a deleted key has",
        ResourceExistsError,
        409,
        "Conflict",
        "ObjectIsDeletedButRecoverable",
        lambda: client.create_rsa_key(name, size=2048),
    )
    check(name in [known.name for known in client.list_deleted_keys()], "it is among the deleted ones")
    recovered = client.begin_recover_deleted_key(name, _polling_interval=0.1).result()
    check(recovered.id == key.id, "recovered with its version")
    check(client.get_key(name).id == key.id, "and there again")
    client.begin_delete_key(name, _polling_interval=0.1).wait()
    client.purge_deleted_key(name)
    refused(
        "a purged key", ResourceNotFoundError, 404, "KeyNotFound", None, lambda: client.get_deleted_key(name)
    )
    check(client.create_rsa_key(name, size=2048).id != key.id, "the name is free")


def backup_and_restore(client, credential):
    name = PREFIX + "-backup"
    key = client.create_rsa_key(name, size=2048)
    dek = secrets.token_bytes(32)
    wrapped = crypto(key, credential).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, dek).encrypted_key
    blob = client.backup_key(name)
    check(len(blob) > 100, "a backup")
    try:
        client.restore_key_backup(blob)
        raise AssertionError("a backup was restored over its key")
    except ResourceExistsError as error:
        check(error.status_code == 409 and error.error.code == "Conflict", f"{error.status_code}")
    client.begin_delete_key(name, _polling_interval=0.1).wait()
    client.purge_deleted_key(name)
    restored = client.restore_key_backup(blob)
    check(restored.id == key.id, "the version comes back under its id")
    check(crypto(restored, credential).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == dek, "and unwraps")
    try:
        client.restore_key_backup(blob[:-40] + bytes(40))
        raise AssertionError("an altered backup was restored")
    except HttpResponseError as error:
        check(error.status_code == 400, f"an altered backup: {error.status_code}")


def pages(client):
    names = {f"{PREFIX}-page-{index}" for index in range(7)}
    for name in names:
        client.create_ec_key(name, curve="P-256")
    seen, page_count = set(), 0
    for page in client.list_properties_of_keys(max_page_size=3).by_page():
        page = list(page)
        check(len(page) <= 3, f"a page of {len(page)}")
        page_count += 1
        for known in page:
            check(known.name not in seen, f"{known.name} twice")
            seen.add(known.name)
    check(page_count >= 3 and names <= seen, f"{page_count} pages, missing {names - seen}")


def rights(client, key):
    """Another principal, who may read and unwrap one key, and nothing else."""
    vault = URL.split("/")[2].split(".")[0]
    oid, appid = PREFIX + "-oid", PREFIX + "-app"
    admin(
        "PUT",
        "/principals",
        {
            "name": PREFIX,
            "oid": oid,
            "appid": appid,
            "managed_identity": True,
            "federated": [{"issuer": "https://workload.vault.localhost/", "subject": PREFIX}],
        },
    )
    with tempfile.NamedTemporaryFile("w", suffix=".jwt") as token_file:
        token_file.write(admin("POST", "/assertions", {"subject": PREFIX})["assertion"])
        token_file.flush()
        workload = WorkloadIdentityCredential(
            tenant_id=TENANT,
            client_id=appid,
            token_file_path=token_file.name,
            disable_instance_discovery=True,
            connection_verify=CA,
        )
        other = key_client(workload)
        error = refused(
            "a stranger", HttpResponseError, 403, "Forbidden", "ForbiddenByRbac", lambda: other.get_key(key.name)
        )
        check("Action: 'Microsoft.KeyVault/vaults/keys/read'" in error.error.message, error.error.message)
        check(f"oid={oid}" in error.error.message, error.error.message)
        role = {"principal": oid, "role": "Crypto Service Encryption User", "key": key.name}
        admin("POST", f"/vaults/{vault}/roles", role)
        check(other.get_key(key.name).name == key.name, "with the role, a federated workload reads")
        refused(
            "what the role does not hold",
            HttpResponseError,
            403,
            "Forbidden",
            "ForbiddenByRbac",
            lambda: other.begin_delete_key(key.name),
        )
    identity = key_client(ManagedIdentityCredential(client_id=appid))
    check(identity.get_key(key.name).name == key.name, "the managed identity reads")
    admin("DELETE", f"/vaults/{vault}/roles", role)
    refused(
        "a role that was taken away",
        HttpResponseError,
        403,
        "Forbidden",
        "ForbiddenByRbac",
        lambda: identity.get_key(key.name),
    )
    admin("PUT", f"/vaults/{vault}/firewall", {"default_allow": False, "ip_rules": ["10.0.0.0/8"]})
    refused(
        "an address that is kept out",
        HttpResponseError,
        403,
        "Forbidden",
        "ForbiddenByFirewall",
        lambda: client.get_key(key.name),
    )
    admin("PUT", f"/vaults/{vault}/firewall", {"default_allow": True})
    try:
        key_client(client_secret("wrong")).get_key(key.name)
        raise AssertionError("a wrong secret was accepted")
    except ClientAuthenticationError as error:
        check("AADSTS7000215" in str(error), str(error))


def faults(client, key):
    admin("POST", "/faults", {"match": {"key": key.name}, "fault": {"kind": "status", "status": 429, "retry_after_s": 1}, "count": 1})
    try:
        client.get_key(key.name)
        raise AssertionError("a fault did not strike")
    except HttpResponseError as error:
        check(error.status_code == 429 and error.response.headers["Retry-After"] == "1", f"{error.status_code}")
    check(client.get_key(key.name).name == key.name, "one fault, and no more")
    admin("POST", "/faults", {"match": {"key": key.name}, "fault": {"kind": "status", "status": 503}, "count": 2})
    patient = KeyClient(URL, client_secret(), connection_verify=CA, retry_total=4, retry_backoff_factor=0.01)
    check(patient.get_key(key.name).name == key.name, "an SDK that retries gets over two 503")
    admin("DELETE", "/faults")


def main():
    resolve_localhost_names()
    credential = client_secret()
    client = key_client(credential)
    key = create_and_read(client)
    wrap_and_unwrap(client, credential, key)
    import_a_key(client, credential)
    rotate(client, credential, key)
    disable(client, credential, key)
    delete_recover_purge(client)
    backup_and_restore(client, credential)
    pages(client)
    rights(client, key)
    faults(client, key)
    for version in (ApiVersion.V7_0, ApiVersion.V7_4):
        older = key_client(credential, api_version=version)
        check(older.get_key(key.name).name == key.name, f"api-version {version}")
    print(f"python: {made} checks")


if __name__ == "__main__":
    main()
