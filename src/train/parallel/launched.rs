//! What a launcher of processes says of this one.

/// A process that was started as one of several: by `mpirun`, `mpiexec` or `srun`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched {
    /// How many processes there are.
    pub size: usize,
    /// The rank among those of this machine, counted from 0.
    pub local_rank: usize,
    /// How many of them run on this machine.
    pub local_size: usize,
    /// The variable that says so.
    pub variable: &'static str,
}

impl Launched {
    /// What the launcher's variables say; `None` without a launcher.
    pub fn here() -> Option<Self> {
        Self::from(|name| std::env::var(name).ok()?.trim().parse().ok())
    }

    fn from(read: impl Fn(&str) -> Option<usize>) -> Option<Self> {
        // Open MPI; MPICH and others with its launcher; Slurm, in a step of several tasks.
        const LAUNCHERS: [[&str; 3]; 3] = [
            [
                "OMPI_COMM_WORLD_SIZE",
                "OMPI_COMM_WORLD_LOCAL_RANK",
                "OMPI_COMM_WORLD_LOCAL_SIZE",
            ],
            ["PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"],
            ["SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""],
        ];
        LAUNCHERS.iter().find_map(|[size, local_rank, local_size]| {
            Some(Self {
                size: read(size)?,
                local_rank: read(local_rank).unwrap_or(0),
                local_size: read(local_size).unwrap_or(1).max(1),
                variable: size,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_launchers_are_known() {
        let read = |set: &'static [(&'static str, usize)]| {
            Launched::from(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| *v))
        };
        assert_eq!(read(&[]), None);
        let open_mpi = read(&[
            ("OMPI_COMM_WORLD_SIZE", 4),
            ("OMPI_COMM_WORLD_LOCAL_RANK", 1),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", 2),
            ("SLURM_STEP_NUM_TASKS", 8),
        ]);
        let expected = Launched {
            size: 4,
            local_rank: 1,
            local_size: 2,
            variable: "OMPI_COMM_WORLD_SIZE",
        };
        assert_eq!(open_mpi, Some(expected));
        let mpich = read(&[("PMI_SIZE", 2), ("MPI_LOCALRANKID", 1)]).unwrap();
        assert_eq!((mpich.size, mpich.local_rank, mpich.local_size), (2, 1, 1));
    }
}
