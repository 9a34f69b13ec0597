//! Carries one fault out, from its beginning to its end.

use crate::chaos::{
    Stage,
    fault::{Fault, Survivor, Which},
    side::Side,
    stop,
};
use anyhow::{Context, bail};
use std::time::{Duration, Instant};

impl Stage {
    /// Returns when the fault is over: what was stopped runs again, what was cut passes again.
    pub(crate) fn carry_out(&self, fault: &Fault) -> anyhow::Result<()> {
        match *fault {
            Fault::CopierKilled { down } => {
                self.copier().kill()?;
                stop::sleep(down)?;
                self.copier().start()
            }
            Fault::CopierStopped { down } => {
                self.copier().stop()?;
                stop::sleep(down)?;
                self.copier().start()
            }
            Fault::CopierPaused { lasts } => {
                self.copier().pause();
                stop::sleep(lasts)?;
                self.copier().resume();
                Ok(())
            }
            Fault::TwoCopiers { lasts, survivor } => self.two_copiers(lasts, survivor),
            Fault::BrokerKilled { side, broker, down } => {
                let mut cluster = self.side(side).cluster();
                cluster.kill(broker)?;
                stop::sleep(down)?;
                cluster.start_again(broker)?;
                Ok(())
            }
            Fault::BrokerRestarted { side, broker } => {
                let mut cluster = self.side(side).cluster();
                cluster.stop(broker)?;
                cluster.start_again(broker)?;
                Ok(())
            }
            Fault::BrokerPaused { side, broker, lasts } => {
                self.side(side).cluster().pause(broker);
                stop::sleep(lasts)?;
                self.side(side).cluster().resume(broker);
                Ok(())
            }
            Fault::LeadersMoved { side, shift } => self.move_leaders(self.side(side), shift),
            Fault::Cut { side, broker, lasts } => {
                let wires = self.side(side).wires_to(broker);
                wires.iter().for_each(crate::wire::Wire::cut);
                stop::sleep(lasts)?;
                wires.iter().for_each(crate::wire::Wire::mend);
                Ok(())
            }
            Fault::Delayed { side, by, lasts } => {
                let wires = self.side(side).wires_to(None);
                wires.iter().for_each(|wire| wire.delay(by));
                stop::sleep(lasts)?;
                wires.iter().for_each(crate::wire::Wire::mend);
                Ok(())
            }
            Fault::Silent { side, broker, lasts, then_cut } => {
                let wires = self.side(side).wires_to(broker);
                wires.iter().for_each(crate::wire::Wire::silence);
                stop::sleep(lasts)?;
                if then_cut {
                    wires.iter().for_each(crate::wire::Wire::drop_connections);
                }
                wires.iter().for_each(crate::wire::Wire::mend);
                Ok(())
            }
            Fault::AnswersLost { side, lasts } => {
                let wires = self.side(side).wires_to(None);
                wires.iter().for_each(crate::wire::Wire::silence_answers);
                stop::sleep(lasts)?;
                wires.iter().for_each(crate::wire::Wire::drop_connections);
                wires.iter().for_each(crate::wire::Wire::mend);
                Ok(())
            }
            Fault::UncleanElection { side } => self.unclean_election(side),
        }
    }

    fn two_copiers(&self, lasts: Duration, survivor: Survivor) -> anyhow::Result<()> {
        self.copier().start_twin()?;
        stop::sleep(lasts)?;
        if survivor == Survivor::Second {
            self.copier().kill()?;
            stop::sleep(lasts)?;
            self.copier().kill_twin()?;
            return self.copier().start();
        }
        self.copier().kill_twin()
    }

    /// Every partition with more than one replica gets another leader.
    fn move_leaders(&self, side: &Side, shift: usize) -> anyhow::Result<()> {
        let mut orders = Vec::new();
        for ((topic, partition), placement) in side.placements(0)? {
            let mut replicas = placement.replicas;
            if replicas.len() > 1 {
                let by = shift % replicas.len();
                // Of two replicas, a shift by two would change nothing.
                replicas.rotate_left(by.max(1));
                let replicas: Vec<String> = replicas.iter().map(i32::to_string).collect();
                orders.push(format!("{topic}/{partition}/{}", replicas.join(",")));
            }
        }
        self.agent().lead(&side.bootstrap, &orders)
    }

    /// The follower of one partition falls behind, its leader dies, and the follower leads: what only the leader
    /// had is gone.
    fn unclean_election(&self, which: Which) -> anyhow::Result<()> {
        let side = self.side(which);
        let key = (side.unclean_topic()?.to_owned(), 0);
        let place = |broker: usize| -> anyhow::Result<_> {
            side.placements(broker)?.remove(&key).context("the topic is gone")
        };
        let before = place(0)?;
        let broker = |id: i32| usize::try_from(id).context("there is no leader to lose");
        let leader = broker(before.leader)?;
        let follower = before.replicas.iter().copied().find(|&id| id != before.leader);
        let follower = broker(follower.context("there is no follower")?)?;
        let mut cluster = side.cluster();
        cluster.pause(follower);
        let alone = wait(Duration::from_secs(60), || {
            Ok(place(leader).is_ok_and(|placement| placement.in_sync == [before.leader]))
        });
        if let Ok(true) = alone {
            stop::sleep(Duration::from_secs(2))?; // records that the leader alone has
            cluster.kill(leader)?;
        }
        cluster.resume(follower);
        if !alone? {
            bail!("broker {follower} of the {which} stayed in sync although it is paused");
        }
        let leads = || Ok(place(follower).is_ok_and(|placement| placement.leader == follower as i32));
        if !wait(Duration::from_secs(15), leads)? {
            let partition = format!("{}/{}", key.0, key.1);
            let _ = self.agent().elect_unclean(&side.bootstrap, &partition); // what counts is asked for below
            if !wait(Duration::from_secs(30), leads)? {
                bail!("broker {follower} of the {which} was not elected");
            }
        }
        cluster.start_again(leader)?;
        Ok(())
    }
}

/// Asks again until it is so or the time is over.
fn wait(within: Duration, mut so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    let began = Instant::now();
    loop {
        if so()? {
            return Ok(true);
        }
        if began.elapsed() >= within {
            return Ok(false);
        }
        stop::sleep(Duration::from_millis(100))?;
    }
}
