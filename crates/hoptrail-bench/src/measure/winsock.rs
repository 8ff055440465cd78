//! The documented calls against the socket options under them.

use crate::Result;
use crate::lab::{Lab, ORIGIN, Place, RELAY, local};
use crate::policy::Target;
use crate::report::Report;
use crate::rounds::{self, Goal, Pace, Series, Unit, samples};
use crate::wire::Call;

/// Per slice.
const CALLS: u32 = 2000;
const GOAL: Goal = Goal::AtMostPlus { ratio: 1.05, nanoseconds: 100.0 };

pub(super) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    lab.few()?;
    let mut series = [
        against(Call::OptionRecords)
            .with("WSAIoctl, records, over getsockopt", GOAL, |lab| calls(lab, Call::Records))
            .with("the same, overlapped with an event", Goal::Nothing, |lab| {
                calls(lab, Call::Overlapped)
            }),
        against(Call::OptionContext)
            .with("WSAIoctl, context, over getsockopt", GOAL, |lab| calls(lab, Call::Context)),
        // It asks the kernel first whether the socket is TCP.
        against(Call::OptionSet)
            .with("WSAIoctl, SET, over setsockopt", Goal::Nothing, |lab| calls(lab, Call::Set)),
    ];
    rounds::run(lab, pace, &mut series, |_, _| Ok(()))?;
    report.add(series);
    Ok(())
}

/// The option alone, which too needs the engine.
fn against(option: Call) -> Series<'static> {
    Series::new("winsock", Unit::Nanoseconds, move |lab| {
        lab.attach()?;
        let times = calls(lab, option);
        lab.detach();
        times
    })
}

fn calls(lab: &mut Lab, call: Call) -> Result<Vec<f64>> {
    lab.generator(Place::Lab)?.fill(Target::Relayed.at(ORIGIN), 1)?;
    let times = lab.proxy.calls(local(RELAY), call, CALLS)?;
    lab.generator.empty()?;
    Ok(samples(times))
}
