//! The eBPF object: what happens to a packet at each hook. Entry points only; every program is
//! a decision (`Result<Next, Outcome>`) handed to the one exit.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(missing_docs, reason = "functions that a macro of aya generates carry none")]

mod exit;
mod fastpath;
mod flow_records;
mod hooks;
#[cfg(feature = "debug")]
mod log;
mod maps;
mod neighbour;
mod packet;
mod policy;
mod route;
mod sender;
mod service;
mod tunnel;

use aya_ebpf::{macros::classifier, programs::TcContext};
use naru_abi::Hook;

use hooks::{from_overlay, from_pod, from_underlay, to_overlay, to_pod, to_underlay};

/// Ingress of a pod's host veth.
#[classifier]
pub fn from_pod(ctx: TcContext) -> i32 {
    exit::conclude(ctx, Hook::FromPod, from_pod::decide)
}

/// Egress of a pod's host veth.
#[classifier]
pub fn to_pod(ctx: TcContext) -> i32 {
    exit::conclude(ctx, Hook::ToPod, to_pod::decide)
}

/// Ingress of the vxlan device.
#[classifier]
pub fn from_overlay(ctx: TcContext) -> i32 {
    exit::conclude(ctx, Hook::FromOverlay, from_overlay::decide)
}

/// Egress of the vxlan device.
#[classifier]
pub fn to_overlay(ctx: TcContext) -> i32 {
    exit::conclude(ctx, Hook::ToOverlay, to_overlay::decide)
}

/// Ingress of an uplink.
#[classifier]
pub fn from_underlay(ctx: TcContext) -> i32 {
    exit::conclude(ctx, Hook::FromUnderlay, from_underlay::decide)
}

/// Egress of an uplink.
#[classifier]
pub fn to_underlay(ctx: TcContext) -> i32 {
    exit::conclude(ctx, Hook::ToUnderlay, to_underlay::decide)
}

const LICENSE_BYTES: [u8; naru_abi::LICENSE.len() + 1] = {
    let mut bytes = [0; naru_abi::LICENSE.len() + 1];
    let (text, mut at) = (naru_abi::LICENSE.as_bytes(), 0);
    while at < text.len() {
        bytes[at] = text[at];
        at += 1;
    }
    bytes
};

// SAFETY: the section's name and content are what the kernel's loader expects there.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; naru_abi::LICENSE.len() + 1] = LICENSE_BYTES;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
