//! Ordered steps, each with its undo: after a failure the steps before it are undone in reverse.

use naru_store::failpoint::{Whim, reach};

/// One step over the work `W`.
pub(super) struct Step<W, E> {
    /// Its name, for failpoints and errors.
    pub(super) name: &'static str,
    /// Does the step. A step that fails must leave nothing of its own behind.
    pub(super) act: fn(&mut W) -> Result<(), E>,
    /// Undoes the step after a later step failed.
    pub(super) undo: fn(&mut W) -> Result<(), E>,
}

/// The reason for which a plan was not carried out.
#[derive(Debug)]
pub(super) struct Failure<E> {
    /// The error; `None` if a failpoint asked for it.
    pub(super) error: Option<E>,
    /// The step.
    pub(super) step: &'static str,
    /// The steps that could not be undone.
    pub(super) undo: Vec<E>,
}

/// A step that needs no undo, because the undo of an earlier one takes it back too.
pub(super) fn nothing<W, E>(_: &mut W) -> Result<(), E> {
    Ok(())
}

/// Carries out the steps in order; at the first failure undoes those done before, last first.
pub(super) fn run<W, E>(steps: &[Step<W, E>], work: &mut W) -> Result<(), Failure<E>> {
    for (at, step) in steps.iter().enumerate() {
        let whim = reach(step.name);
        let (error, done) = match (step.act)(work) {
            Ok(()) if whim == Whim::Go => continue,
            Ok(()) => (None, at + 1),
            Err(error) => (Some(error), at),
        };
        let undo = undo(steps.get(..done).unwrap_or_default(), work);
        return Err(Failure { error, step: step.name, undo });
    }
    Ok(())
}

fn undo<W, E>(done: &[Step<W, E>], work: &mut W) -> Vec<E> {
    done.iter().rev().filter_map(|step| (step.undo)(work).err()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events so far, and the step that is to fail.
    #[derive(Default)]
    struct Diary {
        lines: Vec<&'static str>,
        fails: &'static str,
    }

    type Plan = [Step<Diary, &'static str>; 3];

    fn write(diary: &mut Diary, line: &'static str) -> Result<(), &'static str> {
        if diary.fails == line {
            return Err(line);
        }
        diary.lines.push(line);
        Ok(())
    }

    const PLAN: Plan = [
        Step { name: "one", act: |d| write(d, "+1"), undo: |d| write(d, "-1") },
        Step { name: "two", act: |d| write(d, "+2"), undo: |d| write(d, "-2") },
        Step { name: "three", act: |d| write(d, "+3"), undo: nothing },
    ];

    #[test]
    fn every_step_is_done_in_order() {
        let mut diary = Diary::default();
        assert!(run(&PLAN, &mut diary).is_ok());
        assert_eq!(diary.lines, ["+1", "+2", "+3"]);
    }

    #[test]
    fn what_was_done_before_a_failure_is_undone_in_reverse() {
        let mut diary = Diary { fails: "+3", ..Diary::default() };
        let failure = run(&PLAN, &mut diary).unwrap_err();
        assert_eq!((failure.error, failure.step), (Some("+3"), "three"));
        assert!(failure.undo.is_empty());
        assert_eq!(diary.lines, ["+1", "+2", "-2", "-1"]);
    }

    #[test]
    fn an_undo_that_fails_does_not_stop_the_others() {
        let mut diary = Diary { fails: "-2", ..Diary::default() };
        diary.lines.clear();
        let steps = [
            Step { name: "one", act: |d: &mut Diary| write(d, "+1"), undo: |d| write(d, "-1") },
            Step { name: "two", act: |d| write(d, "+2"), undo: |d| write(d, "-2") },
            Step { name: "three", act: |_| Err("no"), undo: nothing },
        ];
        let failure = run(&steps, &mut diary).unwrap_err();
        assert_eq!(failure.undo, ["-2"]);
        assert_eq!(diary.lines, ["+1", "+2", "-1"]);
    }
}
