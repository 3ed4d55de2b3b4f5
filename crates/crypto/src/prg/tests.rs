use super::*;
use crate::rng::Rng;

fn seed(byte: u8) -> PrgSeed {
    let mut raw = [byte; 40];
    raw[0] = byte.wrapping_add(1);
    Secret::new(raw)
}

/// NIST SP 800-38A, F.1.5: the key and first block of ECB-AES256.
#[test]
fn nist_ecb_block() {
    let mut raw = [0u8; 40];
    hex::decode_to_slice("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", &mut raw[..32]).unwrap();
    // The plain block 6bc1bee22e409f96 e93d7e117393172a as counter and nonce.
    hex::decode_to_slice("e93d7e117393172a", &mut raw[32..]).unwrap();
    let counter = u64::from_le_bytes(hex::decode("6bc1bee22e409f96").unwrap().try_into().unwrap());
    for backend in Backend::available() {
        let prg = Prg::with_backend(&Secret::new(raw), backend);
        // Byte positions are modulo 2^64, so ask the block function by its counter.
        let mut out = [[0u8; STRIDE]];
        match &prg.cipher {
            Cipher::Native(b, s) => kernel::run(*b, s, prg.nonce, counter, Op::Store, &mut out),
            Cipher::Portable(c) => {
                let mut block = Block::default();
                block[..8].copy_from_slice(&counter.to_le_bytes());
                block[8..].copy_from_slice(&prg.nonce.to_le_bytes());
                c.encrypt_block(&mut block);
                out[0][..16].copy_from_slice(&block);
            }
        }
        assert_eq!(hex::encode(&out[0][..16]), "f3eed1bdb5d2a03c064b5a7e3db181f8", "{backend:?}");
    }
}

/// FIPS 197, appendix C.3 has key 00..1f; here with counter 0 and nonce 0, checked with an
/// independent implementation (`openssl enc -aes-256-ecb` of sixteen zero bytes).
#[test]
fn the_first_block_of_a_known_key() {
    let mut raw = [0u8; 40];
    raw[..32].iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
    for backend in Backend::available() {
        let mut out = [0u8; 16];
        Prg::with_backend(&Secret::new(raw), backend).keystream(0, &mut out);
        assert_eq!(hex::encode(out), "f29000b62a499fd0a9f39a6add2e7780", "{backend:?}");
    }
}

#[test]
fn the_keystream_is_the_counter_mode_of_the_ctr_crate() {
    use ctr::cipher::{KeyIvInit, StreamCipher};
    for backend in Backend::available() {
        let s = seed(9);
        let mut iv = [0u8; 16];
        iv[8..].copy_from_slice(&s.expose_secret()[32..]);
        let mut want = vec![0u8; 5000];
        let key: [u8; 32] = s.expose_secret()[..32].try_into().unwrap();
        ctr::Ctr64LE::<Aes256>::new(&key.into(), &iv.into()).apply_keystream(&mut want);
        let mut got = vec![0u8; 5000];
        Prg::with_backend(&s, backend).keystream(0, &mut got);
        assert_eq!(got, want, "{backend:?}");
    }
}

fn differential<L: Lane + PartialEq + core::fmt::Debug>(rng: &mut Rng, value: impl Fn(u128) -> L) {
    for case in 0..200 {
        let (len_bits, start_bits) = (rng.below(13), rng.below(40));
        let len = rng.below(1 << len_bits) as usize;
        let start = rng.below(1 << start_bits);
        let subtract = rng.below(2) == 1;
        let data: Vec<L> = (0..len).map(|_| value(u128::from_le_bytes(rng.bytes()))).collect();
        let oracle = Prg::with_backend(&seed(case as u8), Backend::Portable);
        let mut stream = vec![0u8; len * L::BYTES];
        oracle.keystream(start * L::BYTES as u64, &mut stream);
        let mut want = data.clone();
        L::apply_stream(&mut want, &stream, subtract);
        for backend in Backend::available() {
            let mut got = data.clone();
            Prg::with_backend(&seed(case as u8), backend).apply(start, &mut got, subtract);
            assert_eq!(got, want, "{backend:?} len {len} start {start} subtract {subtract}");
            let (mut bytes, mut wanted) = (Vec::new(), Vec::new());
            L::write_bytes(&data, &mut bytes);
            L::write_bytes(&want, &mut wanted);
            Prg::with_backend(&seed(case as u8), backend).apply_bytes::<L>(start, &mut bytes, subtract);
            assert_eq!(bytes, wanted, "{backend:?} bytes, len {len} start {start} subtract {subtract}");
        }
    }
}

#[test]
fn every_backend_gives_the_same_sums_at_any_place_and_length() {
    let mut rng = Rng::from_seed(&Secret::new([4; 32]));
    differential::<u32>(&mut rng, |x| x as u32);
    differential::<u64>(&mut rng, |x| x as u64);
    differential::<u128>(&mut rng, |x| x);
}

/// Halves about a carry and a borrow, where chance does not lead: the element that gives zero, the one below and the one above,
/// under a high half that the carry fills or empties.
#[test]
fn halves_carry_and_borrow_at_every_edge() {
    let length = STRIDE / 16 + 3;
    let mut stream = vec![0u8; length * 16];
    Prg::with_backend(&seed(7), Backend::Portable).keystream(0, &mut stream);
    let masks: Vec<u128> = stream.as_chunks::<16>().0.iter().map(|b| u128::from_le_bytes(*b)).collect();
    let half = |mask: u128| mask as u64;
    type Edge = fn(u64) -> u64;
    let lows: [Edge; 7] = [
        |_| 0,
        |_| u64::MAX,
        |m| m,
        |m| m.wrapping_sub(1),
        |m| m.wrapping_neg(),
        |m| m.wrapping_neg().wrapping_sub(1),
        |m| m.wrapping_neg().wrapping_add(1),
    ];
    let highs: [Edge; 4] = [|_| 0, |_| u64::MAX, |m| m, |m| !m];
    for (low, high) in lows.iter().flat_map(|low| highs.iter().map(move |high| (low, high))) {
        let data: Vec<u128> =
            masks.iter().map(|m| u128::from(low(half(*m))) | (u128::from(high(half(*m >> 64))) << 64)).collect();
        for subtract in [false, true] {
            let right = |(old, mask): (&u128, &u128)| match subtract {
                true => old.wrapping_sub(*mask),
                false => old.wrapping_add(*mask),
            };
            let want: Vec<u128> = data.iter().zip(&masks).map(right).collect();
            for backend in Backend::available() {
                let mut got = data.clone();
                Prg::with_backend(&seed(7), backend).apply(0, &mut got, subtract);
                assert_eq!(got, want, "{backend:?} subtract {subtract}");
            }
            let (mut sum, mut wanted) = (Vec::new(), Vec::new());
            u128::write_bytes(&data, &mut sum);
            u128::write_bytes(&want, &mut wanted);
            u128::add_row(&mut sum, &stream, subtract);
            assert_eq!(sum, wanted, "rows, subtract {subtract}");
        }
    }
}

#[test]
fn subtracting_undoes_adding_in_pieces_cut_anywhere() {
    let mut rng = Rng::from_seed(&Secret::new([5; 32]));
    let masks: Vec<SignedPrg> = (0..5).map(|i| SignedPrg { prg: Prg::new(&seed(i)), subtract: i % 2 == 0 }).collect();
    let undo: Vec<SignedPrg> = (0..5)
        .map(|i| SignedPrg { prg: Prg::with_backend(&seed(i), Backend::Portable), subtract: i % 2 == 1 })
        .collect();
    let plain: Vec<u32> = (0..20_000).map(|i| i * 7).collect();
    let mut vector = plain.clone();
    apply_all(&masks, 3, &mut vector);
    let same = vector.iter().zip(&plain).filter(|(a, b)| a == b).count();
    assert!(same < 5, "{same} elements were left as they were");
    let mut at = 0;
    while at < vector.len() {
        let take = (1 + rng.below(6000) as usize).min(vector.len() - at);
        apply_all(&undo, 3 + at as u64, &mut vector[at..at + take]);
        at += take;
    }
    assert_eq!(vector, plain);
}

#[test]
fn another_key_or_nonce_gives_another_mask() {
    let mut raws = vec![[1u8; 40]; 3];
    raws[1][0] ^= 1;
    raws[2][39] ^= 1;
    let streams: Vec<[u8; 64]> = raws
        .into_iter()
        .map(|raw| {
            let mut out = [0; 64];
            Prg::new(&Secret::new(raw)).keystream(0, &mut out);
            out
        })
        .collect();
    assert!(streams[0] != streams[1] && streams[0] != streams[2] && streams[1] != streams[2]);
}

fn rows_add_up<L: Lane>() {
    // Lengths about a register's and places that no register is aligned to; high bytes, so that carries would show.
    let bytes = |len: usize, by: usize| (0..len).map(|i| (i * by + 201) as u8).collect::<Vec<u8>>();
    for length in [0, 1, L::BYTES, 63, 64, 65, 64 + L::BYTES, 1000, 4096, 4111] {
        for shorter in [0, 1, L::BYTES, 64] {
            let (sum, row) = (bytes(length + 3, 89), bytes(length.saturating_sub(shorter) + 5, 57));
            for subtract in [false, true] {
                let (mut wide, mut plain) = (sum.clone(), sum.clone());
                L::add_row(&mut wide[3..], &row[5..], subtract);
                L::add_stream(&mut plain[3..], &row[5..], subtract);
                assert_eq!(wide, plain, "{length} {shorter} {subtract}");
                L::add_row(&mut wide[3..], &row[5..], !subtract);
                assert_eq!(wide, sum, "{length} {shorter} {subtract} and back");
            }
        }
    }
}

#[test]
fn long_rows_are_added_as_their_portable_twin_adds_them() {
    rows_add_up::<u32>();
    rows_add_up::<u64>();
    rows_add_up::<u128>();
}
