//! Attacks on signatures, beside those in the other files: what is no signature of a key, though it has
//! the form of one, or once had it.
//!
//! | attack | test |
//! | --- | --- |
//! | `alg` "none", in any case; no signature | `an_unsecured_jwt_is_refused` |
//! | a public key as the secret of HS256, another `alg` | `the_algorithm_is_the_key_s_and_no_header_changes_it` |
//! | `kid` as a path or as SQL; `jwk`, `jku`, `x5u`, `x5c` | `a_key_is_found_by_its_kid_and_by_nothing_else` |
//! | names that stand twice, `crit`, padding, white space | `a_token_is_read_strictly` |
//! | a huge token; JSON nested deeply | `a_token_over_4_kib_is_not_read`, and that of `claims` |
//! | over by more than the leeway, `exp` as text, negative, or endless | `every_claim_that_is_judged_has_its_edge` |
//! | a value that widens a pattern | `no_name_opens_the_channels_of_another` |
//! | the rest | here |

use super::*;

/// The order of P-256's base point.
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// That of Ed25519's, the least byte first, as a signature has it (RFC 8032, 5.1).
const ED25519_ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

fn hex(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes().chunks(2);
    bytes
        .map(|it| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 16).unwrap())
        .collect()
}

/// The sum of two numbers, the least byte first.
fn sum(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let added = one.iter().zip(other).map(|(&a, &b)| {
        let sum = u16::from(a) + u16::from(b) + carry;
        carry = sum >> 8;
        u8::try_from(sum & 0xff).unwrap()
    });
    added.collect()
}

/// CVE-2022-21449: r and s of zero, or of the order, verify anything where nobody looks.
#[test]
fn a_psychic_signature_is_none() {
    let (_, info, _, sign) = pairs().remove(1);
    let jwt = jwt(one(&pem(&info, "PUBLIC KEY")).unwrap(), JwtRules::default());
    let header = r#"{"alg":"ES256"}"#;
    assert_eq!(fault(&jwt, &signed(header, SOUND, &sign)), None);
    let (zero, order) = (vec![0; 32], hex(P256_ORDER));
    let one = [&[0; 31][..], &[1]].concat();
    for (r, s) in [
        (&zero, &zero),
        (&zero, &one),
        (&one, &zero),
        (&order, &order),
        (&order, &one),
        (&one, &one),
    ] {
        let forged = signed(header, SOUND, |_| [&r[..], s].concat());
        assert_eq!(fault(&jwt, &forged), Some(JwtFault::Signature));
    }
    // ASN.1 is not the form of a JWS (RFC 7518, 3.4), and half a signature is none.
    for form in [
        |it: &[u8]| [&[0x30, 68, 2, 32][..], &it[..32], &[2, 32], &it[32..]].concat(),
        |it: &[u8]| it[..32].to_vec(),
        |it: &[u8]| [it, &[0]].concat(),
        |it: &[u8]| [&[0], it].concat(),
    ] {
        let other = signed(header, SOUND, |message| form(&sign(message)));
        assert_eq!(fault(&jwt, &other), Some(JwtFault::Signature));
    }
}

/// RFC 8032, 8.4: S plus the order would be a second signature of the same text.
#[test]
fn a_signature_of_ed25519_has_one_form() {
    let (_, info, _, sign) = pairs().remove(0);
    let jwt = jwt(one(&pem(&info, "PUBLIC KEY")).unwrap(), JwtRules::default());
    let header = r#"{"alg":"EdDSA"}"#;
    assert_eq!(fault(&jwt, &signed(header, SOUND, &sign)), None);
    let other = signed(header, SOUND, |message| {
        let signature = sign(message);
        [
            &signature[..32],
            &sum(&signature[32..], &hex(ED25519_ORDER)),
        ]
        .concat()
    });
    assert_eq!(fault(&jwt, &other), Some(JwtFault::Signature));
}

#[test]
fn a_part_of_a_signature_or_a_token_of_another_kind_is_none() {
    let jwt = of_secret(JwtRules::default());
    for bytes in [0, 1, 16, 31] {
        let cut = signed(HS256, SOUND, |message| {
            by_secret(SECRET)(message)[..bytes].to_vec()
        });
        assert_eq!(fault(&jwt, &cut), Some(JwtFault::Signature), "{bytes}");
    }
    // An encrypted one has five parts (RFC 7516), and so has one inside another.
    let sound = token(HS256, SOUND);
    for text in [format!("{sound}.{sound}"), format!("{sound}.x.y")] {
        assert_eq!(fault(&jwt, &text), Some(JwtFault::Malformed));
    }
    let nested = token(r#"{"alg":"HS256","cty":"JWT"}"#, &format!("{sound:?}"));
    assert_eq!(fault(&jwt, &nested), Some(JwtFault::Malformed));
    let packed = token(r#"{"alg":"HS256","zip":"DEF"}"#, "\u{1}\u{2}");
    assert_eq!(fault(&jwt, &packed), Some(JwtFault::Malformed));
}
