"""An OpenID Connect provider on this machine: HTTPS with a certificate of its own (or without), keys, and tokens that they sign."""

import base64
import datetime
import hashlib
import http.server
import ipaddress
import json
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509.oid import NameOID


def encode(data) -> str:
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, length=None) -> str:
    return encode(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


class RsaKey:
    def __init__(self, kid, alg="RS256"):
        self.kid, self.alg = kid, alg
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwk(self):
        numbers = self.key.public_key().public_numbers()
        return {"kty": "RSA", "use": "sig", "kid": self.kid, "n": number(numbers.n), "e": number(numbers.e)}

    def sign(self, data: bytes) -> bytes:
        digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[self.alg[2:]]
        if self.alg.startswith("PS"):
            return self.key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return self.key.sign(data, padding.PKCS1v15(), digest)


class EcKey:
    CURVES = {"ES256": (ec.SECP256R1(), "P-256", 32, hashes.SHA256()), "ES384": (ec.SECP384R1(), "P-384", 48, hashes.SHA384())}

    def __init__(self, kid, alg="ES256"):
        self.kid, self.alg = kid, alg
        self.key = ec.generate_private_key(self.CURVES[alg][0])

    def jwk(self):
        _, curve, size, _ = self.CURVES[self.alg]
        point = self.key.public_key().public_numbers()
        return {"kty": "EC", "kid": self.kid, "crv": curve, "x": number(point.x, size), "y": number(point.y, size)}

    def sign(self, data: bytes) -> bytes:
        _, _, size, digest = self.CURVES[self.alg]
        r, s = utils.decode_dss_signature(self.key.sign(data, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def self_signed():
    """A key and a certificate for localhost, in PEM, and the certificate's thumbprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem + certificate.public_bytes(serialization.Encoding.PEM), hashlib.sha1(der).hexdigest()


class Issuer:
    """Runs until `stop()`. `keys` are those that it shows; `asked` counts how often."""

    def __init__(self, directory, *keys, secure=True):
        self.keys = list(keys)
        self.asked = 0
        self.is_broken = False
        pem, self.thumbprint = self_signed()
        path = directory / "issuer.pem"
        path.write_bytes(pem)
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                document = issuer.document(self.path)
                body = json.dumps(document).encode()
                self.send_response(200 if document else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.host = f"localhost:{self.server.server_address[1]}"
        self.url = f"{'https' if secure else 'http'}://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def document(self, path):
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        if path == "/keys" and not self.is_broken:
            self.asked += 1
            return {"keys": [key.jwk() for key in self.keys]}
        return None

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def token(self, key, now: int, **claims) -> str:
        """A token signed with `key`; a claim of `None` is left out."""
        whole = {"iss": self.url, "sub": "ann@example", "aud": "app", "iat": now, "exp": now + 300, **claims}
        whole = {name: value for name, value in whole.items() if value is not None}
        signed = f"{encode({'alg': key.alg, 'kid': key.kid, 'typ': 'JWT'})}.{encode(whole)}"
        return f"{signed}.{encode(key.sign(signed.encode()))}"
