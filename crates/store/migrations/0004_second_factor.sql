-- What is known of one-time passwords besides their seed, which is with the user.
CREATE TABLE second_factor (
    holder TEXT NOT NULL PRIMARY KEY REFERENCES yett_user (id) ON DELETE CASCADE,
    -- 1 once the user has shown a password that comes of the seed: from then on it is asked for.
    is_confirmed BIGINT NOT NULL,
    -- The step of time of the last password that was taken: none is taken twice.
    step BIGINT NOT NULL,
    -- SHA-256 of codes that each work once without the seed, as a JSON list of hexadecimal digits.
    codes TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);
