"""Identity providers, certificates, SSH keys, service credentials and MFA devices."""

import base64
import hashlib
import hmac
import pathlib
import struct
import subprocess
import time

import pytest
from botocore.exceptions import ClientError
from test_iam_principals import fails

ACCOUNT = "000000000000"
DATA = pathlib.Path(__file__).resolve().parents[2] / "services/iam/testdata"
CERTIFICATE = (DATA / "certificate.pem").read_text()
KEY = (DATA / "key.pem").read_text()
OTHER_KEY = (DATA / "other-key.pem").read_text()


@pytest.fixture
def iam(client):
    return client("iam")


def test_oidc_providers(iam, name):
    host = f"{name('oidc').replace('_', '-')}.example.com"
    arn = iam.create_open_id_connect_provider(Url=f"https://{host}", ClientIDList=["a"], ThumbprintList=["b" * 40])
    arn = arn["OpenIDConnectProviderArn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}"
    message = f"Provider with url https://{host} already exists."
    fails(iam.create_open_id_connect_provider, "EntityAlreadyExists", message, 409, Url=f"https://{host}")
    fails(iam.create_open_id_connect_provider, "ValidationError", "Invalid Open ID Connect Provider URL", 400, Url="http://x.example")
    message = "Thumbprint list must contain fewer than 5 entries."
    fails(iam.create_open_id_connect_provider, "InvalidInput", message, 400, Url="https://y.example", ThumbprintList=["a" * 40] * 6)
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="c")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="a")
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["d" * 40])
    got = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (got["Url"], got["ClientIDList"], got["ThumbprintList"], got["Tags"]) == (host, ["c"], ["d" * 40], [])
    assert arn in [p["Arn"] for p in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    assert iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=arn, TagKeys=["k"])
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    message = f"OpenIDConnect Provider not found for arn {arn}"
    fails(iam.get_open_id_connect_provider, "NoSuchEntity", message, 404, OpenIDConnectProviderArn=arn)
    message = f"OpenId connect Provider {arn} cannot be found."
    fails(iam.delete_open_id_connect_provider, "NoSuchEntity", message, 404, OpenIDConnectProviderArn=arn)


def test_saml_providers(iam, name):
    provider = name("saml")
    metadata = "<EntityDescriptor><IDPSSODescriptor/></EntityDescriptor>" + " " * 1000
    arn = iam.create_saml_provider(Name=provider, SAMLMetadataDocument=metadata)["SAMLProviderArn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:saml-provider/{provider}"
    got = iam.get_saml_provider(SAMLProviderArn=arn)
    assert (got["AssertionEncryptionMode"], got["PrivateKeyList"]) == ("Allowed", [])
    assert got["ValidUntil"] > got["CreateDate"]
    with pytest.raises(ClientError) as caught:
        iam.create_saml_provider(Name=name("saml"), SAMLMetadataDocument="x" * 1000)
    assert caught.value.response["Error"]["Code"] == "InvalidInput"
    iam.update_saml_provider(SAMLProviderArn=arn, AssertionEncryptionMode="Required")
    assert iam.get_saml_provider(SAMLProviderArn=arn)["AssertionEncryptionMode"] == "Required"
    assert arn in [p["Arn"] for p in iam.list_saml_providers()["SAMLProviderList"]]
    iam.tag_saml_provider(SAMLProviderArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    assert iam.list_saml_provider_tags(SAMLProviderArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    iam.untag_saml_provider(SAMLProviderArn=arn, TagKeys=["k"])
    iam.delete_saml_provider(SAMLProviderArn=arn)
    message = f"Manifest not found for arn {arn}"
    fails(iam.get_saml_provider, "NoSuchEntity", message, 404, SAMLProviderArn=arn)
    fails(iam.delete_saml_provider, "NoSuchEntity", message, 404, SAMLProviderArn=arn)


def test_server_certificates(iam, name):
    certificate, other = name("certificate"), name("other")
    upload = lambda **more: iam.upload_server_certificate(
        **{"ServerCertificateName": certificate, "CertificateBody": CERTIFICATE, "PrivateKey": KEY, **more}
    )
    made = upload(Path="/c/")["ServerCertificateMetadata"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:server-certificate/c/{certificate}"
    assert made["ServerCertificateId"].startswith("ASCA") and made["Expiration"].year == 2051
    message = f"The Server Certificate with name {certificate} already exists."
    fails(upload, "EntityAlreadyExists", message, 409)
    for more, code in [
        ({"PrivateKey": OTHER_KEY}, "KeyPairMismatch"),
        ({"PrivateKey": "x"}, "MalformedCertificate"),
        ({"CertificateBody": "x"}, "MalformedCertificate"),
        ({"CertificateChain": "x"}, "MalformedCertificate"),
    ]:
        with pytest.raises(ClientError) as caught:
            upload(ServerCertificateName=other, **more)
        assert caught.value.response["Error"]["Code"] == code
    got = iam.get_server_certificate(ServerCertificateName=certificate)["ServerCertificate"]
    assert got["CertificateBody"].strip() == CERTIFICATE.strip() and "PrivateKey" not in str(got)
    iam.update_server_certificate(ServerCertificateName=certificate, NewServerCertificateName=other, NewPath="/d/")
    listed = iam.list_server_certificates(PathPrefix="/d/")["ServerCertificateMetadataList"]
    assert [c["ServerCertificateName"] for c in listed] == [other]
    iam.tag_server_certificate(ServerCertificateName=other, Tags=[{"Key": "k", "Value": "v"}])
    assert iam.list_server_certificate_tags(ServerCertificateName=other)["Tags"] == [{"Key": "k", "Value": "v"}]
    iam.untag_server_certificate(ServerCertificateName=other, TagKeys=["k"])
    iam.delete_server_certificate(ServerCertificateName=other)
    message = f"The Server Certificate with name {other} cannot be found."
    fails(iam.get_server_certificate, "NoSuchEntity", message, 404, ServerCertificateName=other)


def test_signing_certificates(iam, name):
    user = name("user")
    iam.create_user(UserName=user)
    made = iam.upload_signing_certificate(UserName=user, CertificateBody=CERTIFICATE)["Certificate"]
    assert made["Status"] == "Active" and len(made["CertificateId"]) >= 24
    message = "Certificate invalid-certificate-body is malformed."
    fails(iam.upload_signing_certificate, "MalformedCertificate", message, 400, UserName=user, CertificateBody="invalid-certificate-body")
    with pytest.raises(ClientError) as caught:
        iam.upload_signing_certificate(UserName=user, CertificateBody=CERTIFICATE)
    assert caught.value.response["Error"]["Code"] == "DuplicateCertificate"
    iam.update_signing_certificate(UserName=user, CertificateId=made["CertificateId"], Status="Inactive")
    assert iam.list_signing_certificates(UserName=user)["Certificates"][0]["Status"] == "Inactive"
    iam.delete_signing_certificate(UserName=user, CertificateId=made["CertificateId"])
    message = f"The Certificate with id {made['CertificateId']} cannot be found."
    fails(iam.delete_signing_certificate, "NoSuchEntity", message, 404, UserName=user, CertificateId=made["CertificateId"])


def test_ssh_keys(iam, name):
    user = name("user")
    iam.create_user(UserName=user)
    pem = subprocess.run(["openssl", "pkey", "-pubout"], input=OTHER_KEY, capture_output=True, text=True, check=True).stdout
    made = iam.upload_ssh_public_key(UserName=user, SSHPublicKeyBody=pem)["SSHPublicKey"]
    assert made["SSHPublicKeyId"].startswith("APKA") and len(made["Fingerprint"]) == 47
    get = lambda encoding: iam.get_ssh_public_key(UserName=user, SSHPublicKeyId=made["SSHPublicKeyId"], Encoding=encoding)["SSHPublicKey"]
    ssh = get("SSH")["SSHPublicKeyBody"]
    assert ssh.startswith("ssh-rsa AAAA") and get("PEM")["SSHPublicKeyBody"] == pem
    digest = hashlib.md5(base64.b64decode(ssh.split()[1])).hexdigest()
    assert made["Fingerprint"].replace(":", "") == digest
    for body, code in [(ssh, "DuplicateSSHPublicKey"), ("ssh-rsa nonsense", "InvalidPublicKey")]:
        with pytest.raises(ClientError) as caught:
            iam.upload_ssh_public_key(UserName=user, SSHPublicKeyBody=body)
        assert caught.value.response["Error"]["Code"] == code
    iam.update_ssh_public_key(UserName=user, SSHPublicKeyId=made["SSHPublicKeyId"], Status="Inactive")
    assert iam.list_ssh_public_keys(UserName=user)["SSHPublicKeys"][0]["Status"] == "Inactive"
    iam.delete_ssh_public_key(UserName=user, SSHPublicKeyId=made["SSHPublicKeyId"])
    message = f"The Public Key with id {made['SSHPublicKeyId']} cannot be found."
    fails(get, "NoSuchEntity", message, 404, encoding="SSH")


def test_service_credentials(iam, name):
    user = name("user")
    iam.create_user(UserName=user)
    create = lambda service: iam.create_service_specific_credential(UserName=user, ServiceName=service)["ServiceSpecificCredential"]
    made = create("codecommit.amazonaws.com")
    assert made["ServiceUserName"] == f"{user}-at-{ACCOUNT}" and made["ServicePassword"]
    identified = {"UserName": user, "ServiceSpecificCredentialId": made["ServiceSpecificCredentialId"]}
    reset = iam.reset_service_specific_credential(**identified)["ServiceSpecificCredential"]
    assert reset["ServicePassword"] != made["ServicePassword"]
    assert create("codecommit.amazonaws.com")["ServiceUserName"] == f"{user}+1-at-{ACCOUNT}"
    with pytest.raises(ClientError) as caught:
        create("codecommit.amazonaws.com")
    assert caught.value.response["Error"]["Code"] == "LimitExceeded"
    message = "No such service sqs.amazonaws.com is supported for Service Specific Credentials"
    fails(create, "NotSupportedService", message, 404, service="sqs.amazonaws.com")
    iam.update_service_specific_credential(**identified, Status="Inactive")
    listed = iam.list_service_specific_credentials(UserName=user)["ServiceSpecificCredentials"]
    assert sorted(c["Status"] for c in listed) == ["Active", "Inactive"] and "ServicePassword" not in listed[0]
    iam.delete_service_specific_credential(**identified)
    message = f"No such credential {made['ServiceSpecificCredentialId']} exists"
    fails(iam.reset_service_specific_credential, "NoSuchEntity", message, 404, **identified)


def codes(seed, at):
    def code(step):
        digest = hmac.new(base64.b32decode(seed), struct.pack(">q", step), "sha1").digest()
        offset = digest[-1] & 15
        number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
        return f"{number % 1_000_000:06}"

    step = int(at) // 30
    return {"AuthenticationCode1": code(step - 1), "AuthenticationCode2": code(step)}


def test_mfa_devices(iam, name):
    user, device = name("user"), name("device")
    iam.create_user(UserName=user)
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName=device, Path="/m/")["VirtualMFADevice"]
    serial, seed = made["SerialNumber"], made["Base32StringSeed"]
    assert serial == f"arn:aws:iam::{ACCOUNT}:mfa/m/{device}" and len(seed) == 64
    assert made["QRCodePNG"].startswith(b"\x89PNG")
    fails(iam.create_virtual_mfa_device, "EntityAlreadyExists", "MFA device already exists.", 409, VirtualMFADeviceName=device, Path="/m/")
    wrong = {"AuthenticationCode1": "000000", "AuthenticationCode2": "000000"}
    message = "Authentication code for device is not valid."
    fails(iam.enable_mfa_device, "InvalidAuthenticationCode", message, 403, UserName=user, SerialNumber=serial, **wrong)
    good = codes(seed, time.time())
    iam.enable_mfa_device(UserName=user, SerialNumber=serial, **good)
    fails(iam.enable_mfa_device, "EntityAlreadyExists", "MFA Device is already in use.", 409, UserName=user, SerialNumber=serial, **good)
    assert [d["SerialNumber"] for d in iam.list_mfa_devices(UserName=user)["MFADevices"]] == [serial]
    assert iam.get_mfa_device(SerialNumber=serial, UserName=user)["UserName"] == user
    assigned = iam.list_virtual_mfa_devices(AssignmentStatus="Assigned")["VirtualMFADevices"]
    assert [d["User"]["UserName"] for d in assigned if d["SerialNumber"] == serial] == [user]
    iam.resync_mfa_device(UserName=user, SerialNumber=serial, **codes(seed, time.time() - 3600))
    fails(iam.resync_mfa_device, "InvalidAuthenticationCode", message, 403, UserName=user, SerialNumber=serial, **wrong)
    with pytest.raises(ClientError) as caught:
        iam.delete_virtual_mfa_device(SerialNumber=serial)
    assert caught.value.response["Error"]["Code"] == "DeleteConflict"
    fails(iam.delete_user, "DeleteConflict", "Cannot delete entity, must delete MFA device first.", 409, UserName=user)
    iam.tag_mfa_device(SerialNumber=serial, Tags=[{"Key": "k", "Value": "v"}])
    assert iam.list_mfa_device_tags(SerialNumber=serial)["Tags"] == [{"Key": "k", "Value": "v"}]
    iam.untag_mfa_device(SerialNumber=serial, TagKeys=["k"])
    iam.deactivate_mfa_device(UserName=user, SerialNumber=serial)
    message = f"MFA Device with serial number {serial} does not exist."
    fails(iam.deactivate_mfa_device, "NoSuchEntity", message, 404, UserName=user, SerialNumber=serial)
    iam.delete_virtual_mfa_device(SerialNumber=serial)
    fails(iam.delete_virtual_mfa_device, "NoSuchEntity", message, 404, SerialNumber=serial)


def test_a_code_of_an_enabled_device_is_good_once(iam, node, name):
    user, device = name("user"), name("device")
    iam.create_user(UserName=user)
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName=device)["VirtualMFADevice"]
    key = iam.create_access_key(UserName=user)["AccessKey"]
    sts = node.client("sts", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    now = time.time()
    # The device is enabled with codes of a while ago, and its clock is that far behind ever after.
    iam.enable_mfa_device(UserName=user, SerialNumber=made["SerialNumber"], **codes(made["Base32StringSeed"], now - 60))
    code = codes(made["Base32StringSeed"], now - 30)["AuthenticationCode2"]
    sts.get_session_token(SerialNumber=made["SerialNumber"], TokenCode=code)
    with pytest.raises(ClientError) as caught:
        sts.get_session_token(SerialNumber=made["SerialNumber"], TokenCode=code)
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
