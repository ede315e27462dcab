//! The kernel's side of the node: the eBPF object, its pinned maps and programs, and where they are attached.
//!
//! Everything is synchronous and stateless: the pins below `<bpf>/abi<N>` are the state. A process opens only the
//! handles that it needs. The caller decides where pins are ([`Pins::at`]). Interface names are resolved in the calling
//! thread's network namespace.

mod attach;
mod batch;
mod chain;
mod config;
mod counters;
mod error;
mod filters;
mod flows;
mod install;
mod interfaces;
mod judging;
mod layout;
mod load;
#[cfg(feature = "debug")]
mod log;
mod map;
mod migrate;
mod object;
mod pins;
mod pod;
mod pod_tcx;
mod pods;
mod policies;
mod probe;
mod program;
mod routes;
mod services;
mod stats;
mod strays;
mod sys;
mod table;
mod tcx;
mod trial;

pub use attach::{AttachMode, Attachment, Side, UnknownMode, attach, attachment, detach, detach_others};
pub use chain::{Member, ProgramChain, chains};
pub use config::ConfigMap;
pub use counters::PodTotals;
pub use error::Error;
pub use flows::Flows;
pub use install::{
    Installed, Sizes, discard_other_versions, install, install_object, is_installed, verifier_figures,
};
pub use interfaces::Interfaces;
pub use judging::{add_policy_maps, has_policies, has_policy_maps, link as link_judgement};
pub use layout::installed_sizes;
#[cfg(feature = "debug")]
pub use log::follow_log;
pub use migrate::Migration;
pub use object::object;
pub use pins::Pins;
pub use pod::{PodFilters, attach_pod, is_of_pods, pod_filters, pod_mode, restore_pod, wrong_by_tcx};
pub use pods::Pods;
pub use policies::{Denial, Policies};
pub use probe::{ENCAPSULATION, Feature, Probe, TCX, can_encapsulate, probe};
pub use routes::Routes;
pub use services::{ServiceMaps, Translations};
pub use stats::{Stats, Total};
pub use strays::has_strays;
pub use table::Table;
pub use tcx::is_supported as has_tcx;

/// The result of every fallible function here.
pub type Result<T> = std::result::Result<T, Error>;

/// The installed datapath of one node.
#[derive(Clone, Debug)]
pub struct Datapath {
    pins: Pins,
}

impl Datapath {
    /// The datapath whose pins are at `pins`; maps and programs are opened when they are asked for.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where a pin is absent.
    pub fn open(pins: &Pins) -> Result<Self> {
        match pins.first_missing() {
            None => Ok(Self { pins: pins.clone() }),
            Some(pin) => Err(Error::NotInstalled(pin)),
        }
    }

    /// The pins it was opened from.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The map of pods.
    ///
    /// # Errors
    /// As [`Pods::open`].
    pub fn pods(&self) -> Result<Pods> {
        Pods::open(&self.pins)
    }

    /// The maps by pod interface: settings and counters.
    ///
    /// # Errors
    /// As [`Interfaces::open`].
    pub fn interfaces(&self) -> Result<Interfaces> {
        Interfaces::open(&self.pins)
    }

    /// The tables of policies.
    ///
    /// # Errors
    /// As [`Policies::open`].
    pub fn policies(&self) -> Result<Policies> {
        Policies::open(&self.pins)
    }

    /// The map of prefixes.
    ///
    /// # Errors
    /// As [`Routes::open`].
    pub fn routes(&self) -> Result<Routes> {
        Routes::open(&self.pins)
    }

    /// The map of recorded flows.
    ///
    /// # Errors
    /// As [`Flows::open`].
    pub fn flows(&self) -> Result<Flows> {
        Flows::open(&self.pins)
    }

    /// The map of pairs of hosts for whose flows `FLOWS` had no room.
    ///
    /// # Errors
    /// As [`Flows::open`].
    pub fn flow_pairs(&self) -> Result<Flows> {
        Flows::open_pairs(&self.pins)
    }

    /// The maps of Services and their backends.
    ///
    /// # Errors
    /// As [`ServiceMaps::open`].
    pub fn services(&self) -> Result<ServiceMaps> {
        ServiceMaps::open(&self.pins)
    }

    /// The maps of flows to Services.
    ///
    /// # Errors
    /// As [`Translations::open`].
    pub fn translations(&self) -> Result<Translations> {
        Translations::open(&self.pins)
    }

    /// The datapath's configuration.
    ///
    /// # Errors
    /// As [`ConfigMap::open`].
    pub fn config(&self) -> Result<ConfigMap> {
        ConfigMap::open(&self.pins)
    }

    /// The counters by hook and outcome.
    ///
    /// # Errors
    /// As [`Stats::open`].
    pub fn stats(&self) -> Result<Stats> {
        Stats::open(&self.pins)
    }
}
