use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha512};

use super::*;

fn uniform(i: u64) -> Uniform {
    Sha512::digest(i.to_le_bytes()).into()
}

fn scalar(i: u64) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&uniform(i ^ 0xabcd_0000))
}

/// Below 2^252.
fn short(i: u64) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(&uniform(i ^ 0x1234_0000_0000)[..32]);
    out[31] &= 15;
    out
}

fn both(from: From<'_>, operation: Operation<'_>) -> Vec<Encoding> {
    let mut answers = Backend::available().map(|backend| {
        let mut out = vec![[0xee; 32]; from.len()];
        run_at(backend, from, operation, &mut out).unwrap();
        out
    });
    let first = answers.next().unwrap();
    for other in answers {
        for (i, (a, b)) in first.iter().zip(&other).enumerate() {
            assert_eq!(hex::encode(a), hex::encode(b), "point {i} of {}", from.len());
        }
    }
    first
}

/// Every operation on every kind of input, lanes against the library.
fn compare(count: usize, seed: u64) {
    let uniforms: Vec<Uniform> = (0..count as u64).map(|i| uniform(i + seed)).collect();
    let k = Multiplier::new(&scalar(seed));
    let r: Vec<[u8; 32]> = (0..count as u64).map(|i| short(i + seed)).collect();
    let base = Base::new(&RistrettoPoint::mul_base(&scalar(seed + 1)).compress().to_bytes()).unwrap();
    let hashed = both(From::Uniform(&uniforms), Operation::Multiply(&k));
    both(From::Encoded(&hashed), Operation::Multiply(&k));
    let blinded = both(From::Uniform(&uniforms), Operation::Blind(Base::generator(), &r));
    both(From::Encoded(&blinded), Operation::Unblind(&base, &r));
}

#[test]
fn lanes_and_library_agree_at_every_length() {
    for count in (0..40).chain([511, 512, 513, 520, 1025]) {
        compare(count, count as u64 * 1000);
    }
}

/// Four operations on 2^18 random inputs each; half of them here and half in the next test, which runs beside it.
#[test]
fn lanes_and_library_agree_on_half_a_million_inputs() {
    for piece in 0..2 {
        compare(1 << 16, piece << 32);
    }
}

#[test]
fn lanes_and_library_agree_on_another_half_million_inputs() {
    for piece in 2..4 {
        compare(1 << 16, piece << 32);
    }
}

/// The weighed sum, of lanes and library.
fn sums(points: &[Encoding], weights: &[[u8; 16]]) -> RistrettoPoint {
    let mut sums = Backend::available().map(|backend| weighed_at(backend, points, weights).unwrap());
    let first = sums.next().unwrap();
    assert!(sums.all(|other| other == first), "{} points", points.len());
    first
}

#[test]
fn a_weighed_sum_is_that_of_its_products() {
    let ends = [0, 1, 7, 8, 15, 16, u128::MAX, u128::MAX - 7, 1 << 127, u128::from_le_bytes([0x77; 16]), 1 << 64];
    for count in (0..40).chain([127, 128, 129, 520, 1025]) {
        let scalars: Vec<Scalar> = (0..count).map(|i| scalar(i + 1000 * count)).collect();
        let points: Vec<Encoding> = scalars.iter().map(|s| RistrettoPoint::mul_base(s).compress().to_bytes()).collect();
        let random = |i: u64| u128::from_le_bytes(*uniform(i ^ 77).first_chunk().unwrap());
        let weights: Vec<u128> =
            (0..count).map(|i| ends.get((i % 16) as usize).copied().unwrap_or_else(|| random(i))).collect();
        let expected: Scalar = scalars.iter().zip(&weights).map(|(s, w)| s * Scalar::from(*w)).sum();
        let weights: Vec<[u8; 16]> = weights.iter().map(|w| w.to_le_bytes()).collect();
        assert_eq!(sums(&points, &weights), RistrettoPoint::mul_base(&expected), "{count}");
    }
}

#[test]
fn a_weighed_sum_may_be_nothing_and_has_no_point_that_is_none() {
    let point = RistrettoPoint::mul_base(&scalar(3));
    let [one, minus] = [point, -point].map(|p| p.compress().to_bytes());
    let (some, nothing) = ([9; 16], RistrettoPoint::default());
    assert_eq!(sums(&[one, minus], &[some, some]), nothing);
    // In one lane, too.
    let nine = [one, one, one, one, one, one, one, one, minus];
    let mut weights = [[0; 16]; 9];
    (weights[0], weights[8]) = (some, some);
    assert_eq!(sums(&nine, &weights), nothing);
    for none in [[0; 32], [0xff; 32]] {
        for place in [0, 5, 130, 149] {
            let mut many = vec![one; 150];
            many[place] = none;
            for backend in Backend::available() {
                let refused = weighed_at(backend, &many, &vec![some; 150]);
                assert_eq!(refused, Err(Refused(place)), "{backend:?}");
            }
        }
    }
}

#[test]
fn operations_are_what_they_say_and_doubled() {
    let (k, b) = (scalar(1), scalar(2));
    let (u, r) = ([uniform(3)], [short(4)]);
    let point = RistrettoPoint::from_uniform_bytes(&u[0]);
    let r_scalar = Scalar::from_bytes_mod_order(r[0]);
    let base = Base::new(&RistrettoPoint::mul_base(&b).compress().to_bytes()).unwrap();
    let doubled = |p: RistrettoPoint| (p + p).compress().to_bytes();
    assert_eq!(both(From::Uniform(&u), Operation::Multiply(&Multiplier::new(&k))), [doubled(point * k)]);
    let encoded = [point.compress().to_bytes()];
    assert_eq!(both(From::Encoded(&encoded), Operation::Multiply(&Multiplier::new(&k))), [doubled(point * k)]);
    let blinded = point + RistrettoPoint::mul_base(&(b * r_scalar));
    assert_eq!(both(From::Encoded(&encoded), Operation::Blind(&base, &r)), [doubled(blinded)]);
    let unblinded = point - RistrettoPoint::mul_base(&(b * r_scalar));
    assert_eq!(both(From::Encoded(&encoded), Operation::Unblind(&base, &r)), [doubled(unblinded)]);
}

#[test]
fn extreme_scalars_and_field_elements_agree() {
    let near_one = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(8u8), Scalar::from(7u8), -Scalar::from(8u8)];
    let mut uniforms = vec![[0; 64], [0xff; 64], [1; 64]];
    // Elements of the field at its ends: 0, 1, p - 1, p, p + 1, 2^255 - 1, as either half.
    for low in [0u8, 1, 0xec, 0xed, 0xee, 0xff] {
        let mut half = if low < 2 { [0; 32] } else { [0xff; 32] };
        half[0] = low;
        half[31] &= 0x7f;
        let mut u = [0; 64];
        u[..32].copy_from_slice(&half);
        uniforms.push(u);
        u.rotate_left(32);
        uniforms.push(u);
    }
    for k in near_one {
        both(From::Uniform(&uniforms), Operation::Multiply(&Multiplier::new(&k)));
    }
    let mut top = [0xff; 32];
    top[31] = 15;
    let mut bits = vec![[0; 32], top];
    for bit in 0..252 {
        let mut r = [0; 32];
        r[bit / 8] = 1 << (bit % 8);
        bits.push(r);
    }
    let many = vec![uniform(9); bits.len()];
    both(From::Uniform(&many), Operation::Blind(Base::generator(), &bits));
    both(From::Uniform(&many), Operation::Unblind(Base::generator(), &bits));
}

#[test]
fn a_result_that_is_the_identity_is_encoded_and_spoils_no_other() {
    let r: Vec<[u8; 32]> = (1..20).map(short).collect();
    let points: Vec<Encoding> = r
        .iter()
        .enumerate()
        .map(|(i, r)| {
            let s = Scalar::from_bytes_mod_order(*r) + if i % 3 == 0 { Scalar::ZERO } else { Scalar::from(i as u64) };
            RistrettoPoint::mul_base(&s).compress().to_bytes()
        })
        .collect();
    let out = both(From::Encoded(&points), Operation::Unblind(Base::generator(), &r));
    for (i, out) in out.iter().enumerate() {
        assert_eq!(*out == [0; 32], i % 3 == 0, "{i}");
    }
}

/// RFC 9496, appendix A.1 and A.2.
#[test]
fn vectors_of_rfc_9496_multiples_and_bad_encodings() {
    let multiples = [
        "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
        "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
        "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
        "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
        "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
        "f64746d3c92b13050ed8d80236a7f0007c3b3f962f5ba793d19a601ebb1df403",
        "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d",
        "903293d8f2287ebe10e2374dc1a53e0bc887e592699f02d077d5263cdd55601c",
        "02622ace8f7303a31cafc63f8fc48fdc16e1c8c8d234b2f0d6685282a9076031",
        "20706fd788b2720a1ed2a5dad4952b01f413bcf0e7564de8cdc816689e2db95f",
        "bce83f8ba5dd2fa572864c24ba1810f9522bc6004afe95877ac73241cafdab42",
        "e4549ee16b9aa03099ca208c67adafcafa4c3f3e4e5303de6026e3ca8ff84460",
        "aa52e000df2e16f55fb1032fc33bc42742dad6bd5a8fc0be0167436c5948501f",
        "46376b80f409b29dc2b5f6f0c52591990896e5716f41477cd30085ab7f10301e",
        "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e",
    ];
    let half = Scalar::from(2u8).invert();
    let generator = [RISTRETTO_BASEPOINT_COMPRESSED.to_bytes()];
    for (i, expected) in multiples.iter().enumerate() {
        let k = Multiplier::new(&(Scalar::from(i as u64 + 1) * half));
        assert_eq!(hex::encode(both(From::Encoded(&generator), Operation::Multiply(&k))[0]), *expected, "{i}");
    }
    let bad = [
        // Non-canonical field encodings.
        "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        // Negative field elements.
        "0100000000000000000000000000000000000000000000000000000000000000",
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
        "c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
        "c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78",
        "47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24",
        "f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72",
        "87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309",
        // Non-square x^2.
        "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
        "4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
        "de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad7b",
        "bcab477be20861e01e4a0e295284146a510150d9817763caf1a6f4b422d67042",
        "2a292df7e32cababbd9de088d1d1abec9fc0440f637ed2fba145094dc14bea08",
        "f4a9e534fc0d216c44b218fa0c42d99635a0127ee2e53c712f70609649fdff22",
        "8268436f8c4126196cf64b3c7ddbda90746a378625f9813dd9b8457077256731",
        "2810e5cbc2cc4d4eece54f61c6f69758e289aa7ab440b3cbeaa21995c2f4232b",
        // Negative x y.
        "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
        "a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220",
        "d483fe813c6ba647ebbfd3ec41adca1c6130c2beeee9d9bf065c8d151c5f396e",
        "8a2e1d30050198c65a54483123960ccc38aef6848e1ec8f5f780e8523769ba32",
        "32888462f8b486c68ad7dd9610be5192bbeaf3b443951ac1a8118419d9fa097b",
        "227142501b9d4355ccba290404bde41575b037693cef1f438c47f8fbf35d1165",
        "5c37cc491da847cfeb9281d407efc41e15144c876e0170b499a96a22ed31e01e",
        "445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b",
        // s = -1, which causes y = 0.
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        // The identity, which the group has and this protocol refuses.
        "0000000000000000000000000000000000000000000000000000000000000000",
    ];
    let k = Multiplier::new(&Scalar::ONE);
    for encoding in bad {
        for place in [0, 5, 13, 30] {
            let mut many = vec![generator[0]; 31];
            many[place] = hex::decode(encoding).unwrap().try_into().unwrap();
            for backend in Backend::available() {
                let mut out = vec![[0; 32]; many.len()];
                let refused = run_at(backend, From::Encoded(&many), Operation::Multiply(&k), &mut out);
                assert_eq!(refused, Err(Refused(place)), "{backend:?} {encoding}");
            }
        }
        assert!(Base::new(&hex::decode(encoding).unwrap().try_into().unwrap()).is_none());
    }
}

/// RFC 9496, appendix A.3.
#[test]
fn vectors_of_rfc_9496_element_derivation() {
    let vectors = [
        (
            "5d1be09e3d0c82fc538112490e35701979d99e06ca3e2b5b54bffe8b4dc772c14d98b696a1bbfb5ca32c436cc61c16563790306c79eaca7705668b47dffe5bb6",
            "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46",
        ),
        (
            "f116b34b8f17ceb56e8732a60d913dd10cce47a6d53bee9204be8b44f6678b270102a56902e2488c46120e9276cfe54638286b9e4b3cdb470b542d46c2068d38",
            "f26e5b6f7d362d2d2a94c5d0e7602cb4773c95a2e5c31a64f133189fa76ed61b",
        ),
        (
            "8422e1bbdaab52938b81fd602effb6f89110e1e57208ad12d9ad767e2e25510c27140775f9337088b982d83d7fcf0b2fa1edffe51952cbe7365e95c86eaf325c",
            "006ccd2a9e6867e6a2c5cea83d3302cc9de128dd2a9a57dd8ee7b9d7ffe02826",
        ),
        (
            "165d697a1ef3d5cf3c38565beefcf88c0f282b8e7dbd28544c483432f1cec7675debea8ebb4e5fe7d6f6e5db15f15587ac4d4d4a1de7191e0c1ca6664abcc413",
            "ae81e7dedf20a497e10c304a765c1767a42d6e06029758d2d7e8ef7cc4c41179",
        ),
        (
            "a836e6c9a9ca9f1e8d486273ad56a78c70cf18f0ce10abb1c7172ddd605d7fd2979854f47ae1ccf204a33102095b4200e5befc0465accc263175485f0e17ea5c",
            "e2705652ff9f5e44d3e841bf1c251cf7dddb77d140870d1ab2ed64f1a9ce8628",
        ),
        (
            "2cdc11eaeb95daf01189417cdddbf95952993aa9cb9c640eb5058d09702c74622c9965a697a3b345ec24ee56335b556e677b30e6f90ac77d781064f866a3c982",
            "80bd07262511cdde4863f8a7434cef696750681cb9510eea557088f76d9e5065",
        ),
    ];
    let k = Multiplier::new(&Scalar::from(2u8).invert());
    for (input, expected) in vectors {
        let input: [Uniform; 1] = [hex::decode(input).unwrap().try_into().unwrap()];
        assert_eq!(hex::encode(both(From::Uniform(&input), Operation::Multiply(&k))[0]), expected);
    }
    assert!(CompressedRistretto([0; 32]).decompress().is_some());
}
