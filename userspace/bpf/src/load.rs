//! Loading an object without the kernel's own BTF. aya's loader reads that first, whatever the object is: 16 MB at the
//! peak, and a good part of the time, for relocations that no program of ours has.

use std::{
    collections::{HashMap, HashSet},
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
    time::Duration,
};

use aya::{EbpfError, maps::MapData, programs::ProgramError};
use aya_obj::{Function, Object, Program, VerifierLog};
use naru_abi::maps;

use crate::{Error, Pins, Result, Sizes, layout, sys, sys::request};

/// `enum bpf_cmd`.
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const BTF_LOAD: libc::c_int = 18;
/// `BPF_PROG_TYPE_SCHED_CLS`.
const SCHED_CLASSIFIER: u32 = 3;
/// Bytes of `prog_name` before its end.
const NAME: usize = 15;
/// Size in bytes of the verifier's log, which is requested after a refusal; errors and statistics alone would not say
/// where.
const LOG: usize = 1 << 20;
const LOG_LEVEL: u32 = 1;
/// `BPF_LOG_STATS`: figures only.
const FIGURES: u32 = 4;

/// Pauses after each verification that was broken off, in milliseconds, before the last one begins. The kernel breaks
/// one off with EAGAIN if a signal comes in, whatever its purpose, and expects it to be tried again, as libbpf does;
/// on a busy machine many may come in a row: eight were not enough where all CPUs were busy.
pub(crate) const VERIFICATIONS: [u64; 14] = [0, 1, 2, 5, 10, 20, 50, 100, 100, 100, 200, 200, 200, 500];

request! {
    /// `struct { btf, btf_log_buf, btf_size, btf_log_size, btf_log_level, btf_log_true_size }`.
    struct BtfLoad {
        btf: u64,
        log: u64,
        size: u32,
        log_size: u32,
        log_level: u32,
        /// Returned by the kernel since 6.4; it must be 0 before the call.
        log_true_size: u32,
    }
}

request! {
    /// `struct { pathname, bpf_fd, file_flags }`.
    struct ObjPin {
        path: u64,
        fd: u32,
        flags: u32,
    }
}

request! {
    /// The arm of `BPF_PROG_LOAD` up to `attach_btf_id`.
    #[derive(Default)]
    struct ProgLoad {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        ifindex: u32,
        expected_attach_type: u32,
        btf: u32,
        function_record: u32,
        functions: u64,
        function_count: u32,
        line_record: u32,
        lines: u64,
        line_count: u32,
        attach_btf: u32,
    }
}

/// In place of the descriptor of a map that the node does not have. The kernel refuses a program that names one.
const NO_MAP: RawFd = -1;

/// An object whose maps exist and are pinned, and whose programs can be loaded.
pub(crate) struct Loaded {
    object: Object,
    btf: Option<OwnedFd>,
    /// The programs name the maps by these descriptors.
    _maps: Vec<OwnedFd>,
}

impl Loaded {
    /// Creates and pins the maps that every node has, as far as they are missing, and opens all that are pinned. `None`
    /// for an object that has maps beside ours, as that of a debug build, or relocations by the kernel's types.
    ///
    /// # Errors
    /// The object is none, or the kernel refuses a map.
    pub(crate) fn new(pins: &Pins, sizes: Sizes, bytes: &[u8]) -> Result<Option<Self>> {
        let mut object = Object::parse(bytes).map_err(refused)?;
        let is_ours = |name: &String| maps::ALL.iter().chain(&maps::OF_POLICIES).any(|one| one == name);
        if !object.maps.keys().all(is_ours) || object.has_btf_relocations() {
            return Ok(None);
        }
        let btf = load_btf(&mut object)?;
        let mut maps = HashMap::new();
        for (name, map) in object.maps.drain() {
            let is_here = maps::ALL.contains(&name.as_str()) || pins.map(&name).exists();
            let types = btf.as_ref().map(AsFd::as_fd);
            let fd = is_here.then(|| open_or_create(pins, sizes, &name, map.clone(), types)).transpose()?;
            maps.insert(name, (fd, map));
        }
        let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let number = |fd: &Option<OwnedFd>| fd.as_ref().map_or(NO_MAP, AsRawFd::as_raw_fd);
        let by_name = maps.iter().map(|(name, (fd, map))| (name.as_str(), number(fd), map));
        object.relocate_maps(by_name, &sections).map_err(refused)?;
        object.relocate_calls(&sections).map_err(refused)?;
        object.sanitize_functions(aya::features());
        Ok(Some(Self { object, btf, _maps: maps.into_values().filter_map(|(fd, _)| fd).collect() }))
    }

    /// Verifies and loads a program, and pins it.
    ///
    /// # Errors
    /// The object has no such program, or the kernel refuses it.
    pub(crate) fn pin(&self, name: &'static str, pin: &Path) -> Result<()> {
        let program = self.object.programs.get(name).ok_or(Error::NoProgram(name))?;
        let function = self.object.functions.get(&program.function_key()).ok_or(Error::NoProgram(name))?;
        let loaded = self.verify(name, program, function)?;
        let path = sys::c_path(pin).map_err(pinning(pin))?;
        let mut request = ObjPin { path: path.as_ptr() as u64, fd: sys::raw(loaded.as_fd()), flags: 0 };
        // SAFETY: the path lives until the call returns.
        unsafe { sys::call(OBJ_PIN, &mut request) }.map(drop).map_err(pinning(pin))
    }

    /// Loads a program, as often as [`VERIFICATIONS`] allow; the last time with a log.
    fn verify(&self, name: &'static str, program: &Program, function: &Function) -> Result<OwnedFd> {
        for pause in VERIFICATIONS {
            match self.load(name, program, function, (LOG_LEVEL, &mut [])) {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                    std::thread::sleep(Duration::from_millis(pause));
                }
                Ok(loaded) => return Ok(loaded),
                Err(_) => break,
            }
        }
        let mut log = vec![0; LOG];
        self.load(name, program, function, (LOG_LEVEL, &mut log)).map_err(|io_error| {
            let text = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy().into_owned();
            let source = ProgramError::LoadError { io_error, verifier_log: VerifierLog::new(text) };
            Error::Program { program: name, action: "load", source: Box::new(source) }
        })
    }

    /// The figures that the verifier reports about a program, in its words: instructions, and the stack of each
    /// function.
    ///
    /// # Errors
    /// As [`Loaded::pin`].
    pub(crate) fn figures(&self, name: &'static str) -> Result<String> {
        let program = self.object.programs.get(name).ok_or(Error::NoProgram(name))?;
        let function = self.object.functions.get(&program.function_key()).ok_or(Error::NoProgram(name))?;
        let mut log = vec![0; LOG];
        loop {
            match self.load(name, program, function, (FIGURES, &mut log)) {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                _ => {
                    return Ok(CStr::from_bytes_until_nul(&log)
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned());
                }
            }
        }
    }

    /// One verification, whose log of that level fills `log`.
    fn load(
        &self,
        name: &str,
        program: &Program,
        function: &Function,
        (level, log): (u32, &mut [u8]),
    ) -> io::Result<OwnedFd> {
        let (functions, lines) = (function.func_info.func_info_bytes(), function.line_info.line_info_bytes());
        let mut request = ProgLoad {
            kind: SCHED_CLASSIFIER,
            instruction_count: function.instructions.len() as u32,
            instructions: function.instructions.as_ptr() as u64,
            license: program.license.as_ptr() as u64,
            kernel_version: program.kernel_version.unwrap_or_default(),
            ..ProgLoad::default()
        };
        if aya::features().bpf_name() {
            request.name.iter_mut().zip(name.bytes().take(NAME)).for_each(|(to, from)| *to = from);
        }
        if !log.is_empty() {
            (request.log_level, request.log) = (level, log.as_mut_ptr() as u64);
            request.log_size = log.len() as u32;
        }
        if let Some(btf) = &self.btf {
            request.btf = sys::raw(btf.as_fd());
            if function.func_info_rec_size > 0 {
                request.function_record = function.func_info_rec_size as u32;
                request.function_count = function.func_info.len() as u32;
                request.functions = functions.as_ptr() as u64;
            }
            if function.line_info_rec_size > 0 {
                request.line_record = function.line_info_rec_size as u32;
                request.line_count = function.line_info.len() as u32;
                request.lines = lines.as_ptr() as u64;
            }
        }
        // SAFETY: everything that the request points to lives until the call returns, and has the size it says.
        unsafe { sys::descriptor(PROG_LOAD, &mut request) }
    }
}

/// Loads the object's types into the kernel, which keeps them with maps and programs for tools that dump them. Returns
/// `None` if the kernel knows no types.
fn load_btf(object: &mut Object) -> Result<Option<OwnedFd>> {
    let Some(features) = aya::features().btf() else { return Ok(None) };
    let Some(types) = object.fixup_and_sanitize_btf(features).map_err(refused)? else { return Ok(None) };
    let bytes = types.to_bytes();
    let mut request = BtfLoad {
        btf: bytes.as_ptr() as u64,
        log: 0,
        size: bytes.len() as u32,
        log_size: 0,
        log_level: 0,
        log_true_size: 0,
    };
    // SAFETY: the types live until the call returns.
    let loaded = unsafe { sys::descriptor(BTF_LOAD, &mut request) };
    loaded.map(Some).map_err(|source| Error::Types { source })
}

/// Creates and pins the maps of policies, as far as they are missing.
///
/// # Errors
/// The object is none, or the kernel refuses a map.
pub(crate) fn create_policy_maps(pins: &Pins, sizes: Sizes, bytes: &[u8]) -> Result<()> {
    let mut object = Object::parse(bytes).map_err(refused)?;
    let btf = load_btf(&mut object)?;
    for name in maps::OF_POLICIES {
        let map = object.maps.get(name).ok_or(Error::NoMap(name))?.clone();
        open_or_create(pins, sizes, name, map, btf.as_ref().map(AsFd::as_fd))?;
    }
    Ok(())
}

/// The map as it is pinned, else a new one, pinned.
fn open_or_create(
    pins: &Pins,
    sizes: Sizes,
    name: &str,
    mut map: aya_obj::Map,
    btf: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd> {
    let pin = pins.map(name);
    if let Ok(fd) = sys::open(&pin) {
        return Ok(fd);
    }
    map.set_max_entries(layout::capacity(name, sizes));
    let data = MapData::create(map, name, btf).map_err(refused)?;
    data.pin(&pin).map_err(|source| Error::PinObject { path: pin.clone(), source })?;
    sys::open(&pin).map_err(pinning(&pin))
}

fn pinning(pin: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Pin { path: pin.to_owned(), action: "pin", source }
}

fn refused(error: impl Into<EbpfError>) -> Error {
    Error::Object(Box::new(error.into()))
}
