-- A queue that the first version of the layout wrote, dumped by sqlite3 with its two marks.
PRAGMA application_id = 1447382081;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE jobs (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT NOT NULL,              -- train, or what a small job is for: estimate, caption, generate …
    folder    TEXT NOT NULL UNIQUE,       -- relative to the folder of runs, so that this can be moved as a whole
    command   TEXT NOT NULL,              -- JSON: the words after `velatura` of a small job; [] for train
    cwd       TEXT NOT NULL,              -- where it was asked for: relative names of bases and styles are from there
    owner     TEXT NOT NULL,
    wants     TEXT NOT NULL,              -- auto, cpu, cuda, cuda:1, mps
    priority  INTEGER NOT NULL,           -- higher goes first
    position  INTEGER NOT NULL,           -- then lower goes first
    phase     TEXT NOT NULL,              -- waiting, claimed, running, held, ended
    requested TEXT NOT NULL DEFAULT '',   -- of a running job: save, pause, cancel, yield
    device    TEXT NOT NULL DEFAULT '',   -- of a claimed or running job
    token     TEXT NOT NULL DEFAULT '',   -- of a claim: whoever starts with another one is too late
    host      TEXT NOT NULL DEFAULT '',   -- the process that has the job: who claimed it, trains it or changes it
    pid       INTEGER NOT NULL DEFAULT 0,
    started   REAL NOT NULL DEFAULT 0,    -- when that process began: with the pid it names one process for good
    attempts  INTEGER NOT NULL DEFAULT 0,
    added     REAL NOT NULL,              -- Unix seconds, as all times
    begun     REAL NOT NULL DEFAULT 0,
    ended     REAL NOT NULL DEFAULT 0
);
INSERT INTO "jobs" VALUES(1,'train','dusk','[]','/home/anna','anna','cpu',10,1,'ended','','','','somewhere',0,0.0,1,1.79573288600044155e+09,1.79573288600872421e+09,1.79573288600881814e+09);
INSERT INTO "jobs" VALUES(2,'train','dawn','[]','/home/anna','anna','cpu',0,4,'waiting','','','','',0,0.0,0,1.79573288600791883e+09,0.0,0.0);
INSERT INTO "jobs" VALUES(3,'train','noon','[]','/home/anna','anna','cpu',3,3,'waiting','','','','',0,0.0,0,1.79573288600805377e+09,0.0,0.0);
INSERT INTO "jobs" VALUES(4,'train','night','[]','/home/anna','anna','cpu',0,5,'waiting','','','','',0,0.0,0,1.79573288600816583e+09,0.0,0.0);
INSERT INTO "jobs" VALUES(5,'generate','.jobs/picture','["generate", "--prompt", "a fox; two\nlines"]','/home/anna','','auto',10,2,'running','save','cpu','33950a3fc13bb8e8','somewhere',7,1700000000.5,1,1.79573288600826859e+09,1.7957328860089662e+09,0.0);
CREATE TABLE workers (
    host TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT NULL, devices TEXT NOT NULL,
    PRIMARY KEY (host, pid)
);
INSERT INTO "workers" VALUES('somewhere',7,1700000000.5,'["cpu"]');
CREATE INDEX by_turn ON jobs (phase, priority DESC, position);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',5);
COMMIT;
