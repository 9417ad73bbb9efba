"""The search: one Optuna study over temperature, alpha, width and what a user names. Nothing else imports Optuna.

In reading order:

    command     ``kd tune``: opens the study, then leads it or follows its leader
    session     what one command has at hand: configuration, data, axes, study
    space       ``--search`` as axes, and the points that are tried first
    size        the parameters of a candidate, and what ``--max-parameters`` leaves of the space
    storage     the database
    study       which study it is: created, or opened again; never one of something else
    attributes  what kd keeps in a study and in its trials, by name
    lease       which command leads, and how another one takes over
    leader      finds what all trials share, repairs, ends the study
    follower    adds workers to a study that another command leads
    shared      teacher, groups and cached targets: found by the leader, loaded by workers
    workers/    fork_server starts processes, pool keeps so many, work_order tells a worker what to do, worker runs trials
    sampling    how Optuna chooses values, and which trials it prunes
    trial       one trial: a candidate in an MLflow run
    candidate   one configuration, trained and scored
    state       which trials count, how many are left to begin
    time_limit  when the last trial may begin
    repair      what dead processes left: lost trials fail and are retried, open runs are ended
    best        the best trial, and ``best.yaml``
    certainty   how sure that is: its interval on val, its ties, the trials that it can't be told from
    progress    what is seen of a study meanwhile; its words in ``report``, its ``figures``
    final       the winner and others on test

The life of a study: A command checks its arguments, and creates the study with the first points waiting, or opens it again.
It takes the lease and leads, or, if another command has that, follows. The leader opens the study's MLflow run, finds or
trains the teacher, fixes the groups, caches the targets, and writes into the study where all of that is. From then on the
workers of all commands, on all machines, ask Optuna for a trial each, train its candidate, and report every epoch. Whoever
is killed is made up for: a worker by its command, which starts another, and by the leader, which has the trial retried; a
leader by a follower, which takes the lease; all of them by the same command given again. Once so many trials as were asked
for are done, or time is up, the leader trains the winner and what it is compared with, and scores them on test.
"""
