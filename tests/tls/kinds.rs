//! Kinds of certificates that servers have, made with the `openssl` program: also those that no
//! library of ours would make.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
};

use super::certificates::write_private;

/// A certificate as somebody's server may have it.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// What `openssl genpkey` is told.
    key: &'static str,
    /// Of the signature; empty where the key brings its own.
    digest: &'static str,
    signer: Signer,
    /// Lines of an extension file; without any it is of version 1.
    extensions: &'static str,
    days: &'static str,
    /// What else the server is configured with.
    pub(super) settings: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signer {
    Root,
    Intermediate,
    Itself,
    /// An authority of its own with a key of this kind.
    Authority(&'static str),
}

const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
/// Of several primes, which are found sooner than two.
const RSA_8208: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:8208 -pkeyopt rsa_keygen_primes:5";
const FOR_LOCALHOST: &str = "subjectAltName=DNS:localhost";

const USUAL: Kind = Kind {
    name: "usual",
    key: P256,
    digest: "-sha256",
    signer: Signer::Root,
    extensions: FOR_LOCALHOST,
    days: "30",
    settings: "",
};

/// What is asked of both programs.
pub(super) const KINDS: &[Kind] = &[
    USUAL,
    Kind {
        name: "version 1, as PostgreSQL's documentation makes it",
        key: RSA,
        extensions: "",
        ..USUAL
    },
    Kind {
        name: "version 1 by an intermediate authority, as it makes that",
        key: RSA,
        extensions: "",
        signer: Signer::Intermediate,
        ..USUAL
    },
    Kind {
        name: "version 1 under TLS 1.2",
        key: RSA,
        extensions: "",
        settings: "ssl_max_protocol_version = 'TLSv1.2'",
        ..USUAL
    },
    Kind {
        name: "by an intermediate authority",
        signer: Signer::Intermediate,
        ..USUAL
    },
    Kind {
        name: "signed by itself",
        signer: Signer::Itself,
        ..USUAL
    },
    Kind {
        name: "P-256 and SHA-512",
        digest: "-sha512",
        ..USUAL
    },
    Kind {
        name: "P-256 and SHA-384 under TLS 1.2",
        digest: "-sha384",
        settings: "ssl_max_protocol_version = 'TLSv1.2'",
        ..USUAL
    },
    Kind {
        name: "P-384 and SHA-256",
        key: "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
        ..USUAL
    },
    Kind {
        name: "P-521",
        key: "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
        digest: "-sha512",
        ..USUAL
    },
    Kind {
        name: "P-521 under TLS 1.2",
        key: "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
        settings: "ssl_max_protocol_version = 'TLSv1.2'",
        ..USUAL
    },
    Kind {
        name: "Ed25519",
        key: "-algorithm ED25519",
        ..USUAL
    },
    Kind {
        name: "RSASSA-PSS alone",
        key: "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
        ..USUAL
    },
    Kind {
        name: "RSASSA-PSS alone with SHA-384",
        key: "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha384 \
              -pkeyopt rsa_pss_keygen_mgf1_md:sha384 -pkeyopt rsa_pss_keygen_saltlen:48",
        ..USUAL
    },
    Kind {
        name: "RSASSA-PSS alone under TLS 1.2",
        key: "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
        settings: "ssl_max_protocol_version = 'TLSv1.2'",
        ..USUAL
    },
    Kind {
        name: "RSA of 8,192 bits",
        key: "-algorithm RSA -pkeyopt rsa_keygen_bits:8192 -pkeyopt rsa_keygen_primes:5",
        ..USUAL
    },
    Kind {
        name: "RSA of 8,208 bits",
        key: RSA_8208,
        ..USUAL
    },
    Kind {
        name: "SHA-224",
        key: RSA,
        digest: "-sha224",
        ..USUAL
    },
    Kind {
        name: "Ed448",
        key: "-algorithm ED448",
        ..USUAL
    },
    Kind {
        name: "secp256k1",
        key: "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
        ..USUAL
    },
    Kind {
        name: "a common name alone",
        extensions: "basicConstraints=CA:FALSE",
        ..USUAL
    },
    Kind {
        name: "an authority's own",
        extensions: "basicConstraints=critical,CA:TRUE\nsubjectAltName=DNS:localhost",
        ..USUAL
    },
    Kind {
        name: "for another host",
        extensions: "subjectAltName=DNS:db.example",
        ..USUAL
    },
    Kind {
        name: "for clients",
        extensions: "subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth",
        ..USUAL
    },
    Kind {
        name: "expired",
        days: "-1",
        ..USUAL
    },
    Kind {
        name: "version 1, expired",
        extensions: "",
        days: "-1",
        ..USUAL
    },
    Kind {
        name: "a demand that nobody knows",
        extensions: "subjectAltName=DNS:localhost\n1.2.3.4=critical,DER:0500",
        ..USUAL
    },
    Kind {
        name: "by an authority with P-521 and SHA-256",
        signer: Signer::Authority("-algorithm EC -pkeyopt ec_paramgen_curve:P-521"),
        ..USUAL
    },
    Kind {
        name: "by an authority with Ed25519",
        signer: Signer::Authority("-algorithm ED25519"),
        digest: "",
        ..USUAL
    },
    Kind {
        name: "by an authority with RSASSA-PSS alone",
        signer: Signer::Authority("-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048"),
        ..USUAL
    },
    Kind {
        name: "version 1 by an authority with RSASSA-PSS alone",
        extensions: "",
        signer: Signer::Authority("-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048"),
        ..USUAL
    },
    Kind {
        name: "by an authority with RSA of 8,208 bits",
        signer: Signer::Authority(RSA_8208),
        ..USUAL
    },
    Kind {
        name: "by an authority with RSA and SHA-224",
        signer: Signer::Authority(RSA),
        digest: "-sha224",
        ..USUAL
    },
    Kind {
        name: "by an authority with Ed448",
        signer: Signer::Authority("-algorithm ED448"),
        digest: "",
        ..USUAL
    },
    Kind {
        name: "key exchange on P-521",
        settings: "ssl_ecdh_curve = 'secp521r1'",
        ..USUAL
    },
    Kind {
        name: "no cipher but CBC",
        settings: "ssl_max_protocol_version = 'TLSv1.2'\nssl_ciphers = 'ECDHE-ECDSA-AES256-SHA384'",
        ..USUAL
    },
];

/// Makes all kinds in `directory`, `NUMBER.crt` with `NUMBER.key` by their places, and `root.crt`
/// with everybody who may vouch for one of them.
pub(super) fn make(directory: &Path) {
    authority(directory, "root", P256, "-sha256", None);
    authority(directory, "intermediate", P256, "-sha256", Some("root"));
    thread::scope(|scope| {
        for (number, kind) in KINDS.iter().enumerate() {
            scope.spawn(move || kind.make(directory, &number.to_string()));
        }
    });
    let roots = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let roots = roots.filter(|path| path.to_string_lossy().ends_with("root.crt"));
    let roots: String = roots
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    fs::write(directory.join("root.crt"), roots).unwrap();
}

fn authority(directory: &Path, name: &str, key: &str, digest: &str, signer: Option<&str>) {
    let extensions = "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash";
    fs::write(directory.join(format!("{name}.ext")), extensions).unwrap();
    make_key(directory, key, name);
    openssl(
        directory,
        &format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"),
    );
    let signer = signer.map_or_else(
        || format!("-signkey {name}.key"),
        |signer| format!("-CA {signer}.crt -CAkey {signer}.key -set_serial 1"),
    );
    openssl(
        directory,
        &format!(
            "x509 -req -in {name}.csr {signer} -days 30 {digest} -extfile {name}.ext -out {name}.crt"
        ),
    );
}

impl Kind {
    fn make(&self, directory: &Path, name: &str) {
        let Self {
            key, digest, days, ..
        } = self;
        make_key(directory, key, name);
        openssl(
            directory,
            &format!("req -new -key {name}.key -subj /CN=localhost -out {name}.csr"),
        );
        let signer = match self.signer {
            Signer::Root => "-CA root.crt -CAkey root.key -set_serial 2",
            Signer::Intermediate => "-CA intermediate.crt -CAkey intermediate.key -set_serial 2",
            Signer::Itself => &format!("-signkey {name}.key"),
            Signer::Authority(key) => {
                authority(directory, &format!("{name}-root"), key, digest, None);
                &format!("-CA {name}-root.crt -CAkey {name}-root.key -set_serial 2")
            }
        };
        let extensions = if self.extensions.is_empty() {
            ""
        } else {
            fs::write(directory.join(format!("{name}.ext")), self.extensions).unwrap();
            &format!("-extfile {name}.ext")
        };
        openssl(
            directory,
            &format!(
                "x509 -req -in {name}.csr {signer} -days {days} {digest} {extensions} -out {name}.crt"
            ),
        );
        let path = directory.join(format!("{name}.crt"));
        if self.extensions.is_empty() {
            let text = openssl(directory, &format!("x509 -in {name}.crt -noout -text"));
            assert!(text.contains("Version: 1 "), "{}: {text}", self.name);
        }
        if self.signer == Signer::Intermediate {
            let chain = ["", "intermediate"].map(|it| if it.is_empty() { name } else { it });
            let chain =
                chain.map(|it| fs::read_to_string(directory.join(format!("{it}.crt"))).unwrap());
            fs::write(path, chain.concat()).unwrap();
        }
    }
}

/// The one that takes seconds to find is looked for once.
fn make_key(directory: &Path, key: &str, name: &str) {
    static FOUND: OnceLock<String> = OnceLock::new();
    let find = || openssl(directory, &format!("genpkey {key}"));
    let found = if key == RSA_8208 {
        FOUND.get_or_init(find).clone()
    } else {
        find()
    };
    write_private(&directory.join(format!("{name}.key")), &found);
}

fn openssl(directory: &Path, words: &str) -> String {
    let output = Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
