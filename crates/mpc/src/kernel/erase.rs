//! Erasing of bytes, eight at a time: byte by byte it takes longer than to make them.

use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{Ordering, compiler_fence};

/// Bytes that are erased when dropped, with what the vector holds past its end.
#[derive(Default)]
pub struct ErasedBytes(Vec<u8>);

impl From<Vec<u8>> for ErasedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for ErasedBytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for ErasedBytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for ErasedBytes {
    fn drop(&mut self) {
        self.0.clear();
        erase(self.0.spare_capacity_mut());
    }
}

fn erase(bytes: &mut [MaybeUninit<u8>]) {
    // SAFETY: uninitialised words are as good as uninitialised bytes.
    let (head, words, tail) = unsafe { bytes.align_to_mut::<MaybeUninit<u64>>() };
    for byte in head.iter_mut().chain(tail) {
        // SAFETY: a reference is valid and aligned.
        unsafe { core::ptr::write_volatile(byte, MaybeUninit::new(0)) };
    }
    for word in words {
        // SAFETY: a reference is valid and aligned.
        unsafe { core::ptr::write_volatile(word, MaybeUninit::new(0)) };
    }
    compiler_fence(Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_erased_wherever_it_lies() {
        for (from, count) in [(0, 0), (0, 1), (1, 7), (3, 64), (7, 1001), (8, 16)] {
            let mut bytes = vec![MaybeUninit::new(0xa5u8); 1100];
            erase(&mut bytes[from..from + count]);
            // SAFETY: all of it was initialised.
            let now: Vec<u8> = bytes.iter().map(|b| unsafe { b.assume_init() }).collect();
            let erased = |i: usize| (from..from + count).contains(&i);
            assert!(now.iter().enumerate().all(|(i, b)| *b == if erased(i) { 0 } else { 0xa5 }), "{from} {count}");
        }
    }
}
