//! One copy of many gigabytes over many partitions: what memory it takes in the end.

use super::{Options, drain::summary, keep, pair::Race};
use crate::{
    contender::Contender,
    record::{Kind, Line, Record},
    shape::Shape,
};

impl Race {
    /// Paralog alone, once.
    pub(super) fn long(&mut self, options: &Options, record: &mut Record) -> anyhow::Result<()> {
        if options.long.0 == 0 {
            return Ok(());
        }
        let (shape, contender): (Shape, _) =
            ("1KiB/none/full".parse().expect("it is well formed"), Contender::Paralog);
        let filled = self.filled(&shape, options.long, options.long_partitions)?;
        let mut numbers = self.copy(contender, &filled)?;
        numbers.insert("partitions".to_owned(), f64::from(options.long_partitions));
        println!("long: {}", summary(contender, &numbers));
        record.lines.push(Line { kind: Kind::Long, shape, contender, round: 1, numbers });
        keep(record, &options.out)?;
        self.empty(&filled)
    }
}
