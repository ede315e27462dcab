//! The log of a debug build. Everything goes by number: the position in the lists of `naru-abi`.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use naru_abi::{Hook, StackReason, Verdict};

/// Offsets of the source and destination address in a frame.
const V4: [usize; 2] = [26, 30];
const V6: [usize; 2] = [22, 38];
/// Ethertypes as `__sk_buff` holds them, in network order.
const IPV4: u32 = 0x0800u16.to_be() as u32;
const IPV6: u32 = 0x86ddu16.to_be() as u32;

/// First number of the outcomes that leave a packet to the stack, and of those that drop it.
const STACK: u32 = Verdict::ALL.len() as u32;
const DROP: u32 = STACK + StackReason::ALL.len() as u32;

/// Logs the end of a packet: hook, interface, class and reason of the outcome, source and destination.
#[inline(always)]
pub fn ended(skb: *mut __sk_buff, hook: Hook, outcome: u32) {
    let (class, reason) = match outcome {
        verdict if verdict < STACK => (0, verdict),
        reason if reason < DROP => (1, reason - STACK),
        reason => (2, reason - DROP),
    };
    line(skb, hook as u32, class, reason);
}

/// A function of its own, for a stack of its own.
#[inline(never)]
fn line(skb: *mut __sk_buff, hook: u32, class: u32, reason: u32) {
    let ctx = TcContext::new(skb);
    // SAFETY: the kernel's context pointer is valid while the program runs.
    let (ifindex, protocol) = unsafe { ((*skb).ifindex, (*skb).protocol) };
    match protocol {
        IPV4 => {
            let [source, destination] = V4.map(|at| ctx.load::<[u8; 4]>(at).unwrap_or_default());
            aya_log_ebpf::debug!(
                &ctx,
                "hook {} if {} outcome {}.{} from {:i} to {:i}",
                hook,
                ifindex,
                class,
                reason,
                source,
                destination
            );
        }
        IPV6 => {
            let [source, destination] = V6.map(|at| ctx.load::<[u8; 16]>(at).unwrap_or_default());
            aya_log_ebpf::debug!(
                &ctx,
                "hook {} if {} outcome {}.{} from {:i} to {:i}",
                hook,
                ifindex,
                class,
                reason,
                source,
                destination
            );
        }
        _ => aya_log_ebpf::debug!(&ctx, "hook {} if {} outcome {}.{}", hook, ifindex, class, reason),
    }
}
