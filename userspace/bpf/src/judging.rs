//! The judgement by policies, from a node's first policy on.
//!
//! The programs of the object call a function that closes every pod that is to be judged. Where the maps of policies
//! are pinned, an install links the function that judges in its place: a node without policies has neither those maps
//! nor the code, which the verifier looks at in each program.

use naru_abi::{
    maps,
    programs::{self, POLICY_JUDGE, POLICY_VERDICT},
};

use crate::{
    Error, Pins, Result, Sizes,
    install::raise_memlock,
    layout::{self, number},
    load, object, program,
};

/// Makes the maps of policies, as far as they are missing: the next [`crate::install`] then replaces programs that do
/// not judge. The caller sees to it that none runs at once.
///
/// # Errors
/// As [`crate::install`].
pub fn add_policy_maps(pins: &Pins, sizes: Sizes) -> Result<()> {
    let object = object().ok_or(Error::NoObject)?;
    layout::check(pins, sizes, &maps::OF_POLICIES)?;
    raise_memlock();
    load::create_policy_maps(pins, sizes, object)
}

/// Returns true if every pinned program judges by the pinned maps.
///
/// # Errors
/// [`Error::NotInstalled`], and the kernel's.
pub fn has_policies(pins: &Pins) -> Result<bool> {
    if !has_policy_maps(pins) {
        return Ok(false);
    }
    let rules = number(pins, maps::RULES)?;
    for name in programs::ALL {
        if !program::maps(pins, name)?.contains(&rules) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns true if all maps of policies are pinned: programs that are installed from now on judge.
#[must_use]
pub fn has_policy_maps(pins: &Pins) -> bool {
    maps::OF_POLICIES.iter().all(|name| pins.map(name).exists())
}

/// `SHT_SYMTAB`, and the sizes of `Elf64_Shdr` and `Elf64_Sym`.
const SYMBOLS: u32 = 2;
const SECTION: usize = 64;
const SYMBOL: usize = 24;
/// The part of a symbol that says where it is: `st_shndx`, `st_value` and `st_size`.
const PLACE: std::ops::Range<usize> = 6..SYMBOL;

/// The object with the judgement in the place of the function that closes pods: both symbols change places.
///
/// # Errors
/// The object is none of ours.
pub fn link(object: &[u8]) -> Result<Vec<u8>> {
    let symbol = |name| symbol(object, name).ok_or(Error::NoProgram(name));
    let (verdict, judge) = (symbol(POLICY_VERDICT)?, symbol(POLICY_JUDGE)?);
    let mut linked = object.to_vec();
    let place = |at: usize| at + PLACE.start..at + PLACE.end;
    linked[place(verdict)].copy_from_slice(&object[place(judge)]);
    linked[place(judge)].copy_from_slice(&object[place(verdict)]);
    Ok(linked)
}

/// The offset of the symbol of this name in an ELF file of 64 bits and the machine's order of bytes.
fn symbol(elf: &[u8], name: &str) -> Option<usize> {
    let (sections, count) = (long(elf, 0x28)?, usize::from(short(elf, 0x3c)?));
    // An offset beyond the file, however far, is one that finds nothing.
    let section = |index: usize| sections.saturating_add(index * SECTION);
    let kind = |at: &usize| word(elf, at.saturating_add(4));
    let table = (0..count).map(section).find(|at| kind(at) == Some(SYMBOLS))?;
    let (start, size, names) = (long(elf, table + 24)?, long(elf, table + 32)?, word(elf, table + 40)?);
    let names = long(elf, section(names as usize).saturating_add(24))?;
    let is_named = |at: &usize| {
        let start = word(elf, *at).map(|offset| names.saturating_add(offset as usize));
        let text = start.and_then(|start| elf.get(start..start.saturating_add(name.len() + 1)));
        text.is_some_and(|text| text.strip_suffix(b"\0") == Some(name.as_bytes()))
    };
    let end = start.saturating_add(size).min(elf.len());
    (start..end).step_by(SYMBOL).filter(|at| at.saturating_add(SYMBOL) <= elf.len()).find(is_named)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_of_ours_has_no_symbol_and_no_byte_makes_the_look_up_panic() {
        assert!(matches!(link(b""), Err(Error::NoProgram(POLICY_VERDICT))));
        let mut bytes = vec![0xff; 4096];
        assert_eq!(symbol(&bytes, POLICY_JUDGE), None);
        bytes[..0x40].fill(1);
        assert_eq!(symbol(&bytes, POLICY_JUDGE), None);
    }
}
