use std::{collections::BTreeMap, thread, time::Duration};

use aya::{maps::MapInfo, programs::ProgramInfo};
use aya_log::EbpfLogger;
use naru_abi::programs;

use crate::Pins;

/// The map of the log, as aya-log names it.
const LOG: &str = "AYA_LOGS";
/// Period with which the log is read, and number of periods after which the programs are looked up again.
const STEP: Duration = Duration::from_millis(50);
const STEPS: usize = 20;

/// Reads, for ever, the log of the pinned programs of a debug object, also of programs that are installed later, and
/// hands it to the logger of the `log` crate. Waits for programs that log if there are none. Messages that come faster
/// than they are read are lost.
pub fn follow_log(pins: &Pins) -> ! {
    let mut readers = BTreeMap::new();
    loop {
        let logs = logs(pins);
        readers.retain(|log, _| logs.contains_key(log));
        for (log, program) in logs {
            if !readers.contains_key(&log)
                && let Ok(reader) = EbpfLogger::init_from_id(program)
            {
                readers.insert(log, reader);
            }
        }
        for _ in 0..STEPS {
            readers.values_mut().for_each(EbpfLogger::flush);
            thread::sleep(STEP);
        }
    }
}

/// The logs in use, each once, with a program that writes it: programs of one object share theirs.
fn logs(pins: &Pins) -> BTreeMap<u32, u32> {
    let infos = programs::ALL.iter().filter_map(|name| ProgramInfo::from_pin(pins.program(name)).ok());
    infos.filter_map(|info| Some((log_of(&info)?, info.id()))).collect()
}

fn log_of(info: &ProgramInfo) -> Option<u32> {
    info.map_ids()
        .ok()??
        .into_iter()
        .find(|id| MapInfo::from_id(*id).is_ok_and(|map| map.name_as_str() == Some(LOG)))
}
