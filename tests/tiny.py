"""Tiny trainings through the real command: random features, characters as tokens, seconds a run."""

import copy
from pathlib import Path

import numpy as np
import yaml

TOKENS = ["<blank>", "<unk>", *"abcdef", "<space>", "<sos/eos>"]
DIM = 20
# A training started with this variable waits for its end once it has saved the file of that name.
HOLD = "TEST_HOLDS_AFTER"

ENCODERS = {
    "transformer": dict(output_size=16, attention_heads=2, linear_units=16, num_blocks=3),
    "conformer": dict(
        output_size=16, attention_heads=2, linear_units=16, num_blocks=3, cnn_module_kernel=7
    ),
    "branchformer": dict(
        output_size=16, attention_heads=2, cgmlp_linear_units=16, num_blocks=3, cgmlp_conv_kernel=7
    ),
    "e_branchformer": dict(
        output_size=16, attention_heads=2, cgmlp_linear_units=16, num_blocks=3, cgmlp_conv_kernel=7
    ),
    "contextual_block_transformer": dict(
        output_size=16, attention_heads=2, linear_units=16, num_blocks=3
    ),
    "contextual_block_conformer": dict(
        output_size=16, attention_heads=2, linear_units=16, num_blocks=3
    ),
    "rnn": dict(num_layers=3, hidden_size=8, output_size=8, subsample=[2, 2]),
    "vgg_rnn": dict(num_layers=3, hidden_size=8, output_size=8),
}
DECODERS = {
    "transformer": dict(attention_heads=2, linear_units=16, num_blocks=2),
    "rnn": dict(
        num_layers=2,
        hidden_size=8,
        att_conf=dict(atype="location", adim=8, aconv_chans=2, aconv_filts=4),
    ),
}
LMS = {
    "seq_rnn": dict(unit=12, nlayers=3, dropout_rate=0.1, tie_weights=True),
    "transformer": dict(embed_unit=8, att_unit=12, head=2, unit=16, layer=2),
}


def write_data(
    directory: Path, utterances: int = 8, seed: int = 0, *, is_sound: bool = False
) -> Path:
    """Features (frames, 20), texts, shapes and statistics of both parts below `directory`.

    With `is_sound` noise of as many frames, (160 * frames,), in the place of the features.
    """
    random = np.random.default_rng(seed)
    for part in ("train", "valid"):
        where = directory / part
        (where / "npy").mkdir(parents=True, exist_ok=True)
        lines: dict[str, list[str]] = {
            name: [] for name in ("feats.scp", "text", "speech_shape", "text_shape")
        }
        for number in range(utterances):
            name = f"{part}{number:02d}"
            frames = int(random.integers(60, 90))
            text = "".join(random.choice(list("abcdef"), size=int(random.integers(3, 6))))
            shape = (160 * frames,) if is_sound else (frames, DIM)
            features = random.standard_normal(shape).astype(np.float32)
            np.save(where / "npy" / f"{name}.npy", features)
            lines["feats.scp"].append(f"{name} {where}/npy/{name}.npy")
            lines["text"].append(f"{name} {text}")
            lines["speech_shape"].append(f"{name} {','.join(map(str, shape))}")
            lines["text_shape"].append(f"{name} {len(text)},{len(TOKENS)}")
        for file, rows in lines.items():
            (where / file).write_text("\n".join(rows) + "\n")
    (directory / "tokens.txt").write_text("\n".join(TOKENS) + "\n")
    np.savez(directory / "stats.npz", count=10, sum=np.zeros(DIM), sum_square=np.full(DIM, 10.0))
    return directory


def asr_config(
    encoder: str = "transformer", decoder: str | None = "rnn", **changes: object
) -> dict[str, object]:
    """A training config of a tiny model; `decoder` None makes it CTC-only."""
    config: dict[str, object] = dict(
        **common(),
        token_type="char",
        input_size=DIM,
        encoder=encoder,
        encoder_conf=copy.deepcopy(ENCODERS[encoder]),
        model_conf=dict(ctc_weight=0.5 if decoder else 1.0),
        normalize=None,
        frontend="default",
        best_model_criterion=[["valid", "acc", "max"]] if decoder else [["valid", "loss", "min"]],
    )
    if decoder:
        config |= dict(decoder=decoder, decoder_conf=copy.deepcopy(DECODERS[decoder]))
    return config | changes


def lm_config(lm: str = "seq_rnn", **changes: object) -> dict[str, object]:
    """A training config of a tiny language model."""
    config = dict(
        **common(),
        token_type="char",
        lm=lm,
        lm_conf=copy.deepcopy(LMS[lm]),
        best_model_criterion=[["valid", "loss", "min"]],
    )
    return config | changes


def common() -> dict[str, object]:
    """Options that every tiny training shares."""
    return dict(
        optim="adam",
        optim_conf=dict(lr=0.01),
        max_epoch=2,
        batch_type="sorted",
        batch_size=4,
        keep_nbest_models=1,
        num_workers=0,
        num_att_plot=0,
        use_matplotlib=False,
        use_tensorboard=False,
        log_interval=10,
        seed=0,
    )


def command(data: Path, output_dir: Path, config: dict[str, object], *extra: str) -> list[str]:
    """The words of `espnet_topdown.bin.train`: the task and its arguments."""
    task = "lm" if "lm" in config else str(config.pop("task", "asr"))
    return [task, *arguments(data, output_dir, config, *extra)]


def arguments(data: Path, output_dir: Path, config: dict[str, object], *extra: str) -> list[str]:
    """The command line of one training, `config` written beside `output_dir`."""
    path = output_dir.parent / f"{output_dir.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    args = ["--config", str(path), "--output_dir", str(output_dir)]
    args += ["--token_list", str(data / "tokens.txt")]
    is_lm = "lm" in config
    for part in ("train", "valid"):
        where = data / part
        if not is_lm:
            args += [f"--{part}_data_path_and_name_and_type", f"{where}/feats.scp,speech,npy"]
            args += [f"--{part}_shape_file", f"{where}/speech_shape"]
        args += [f"--{part}_data_path_and_name_and_type", f"{where}/text,text,text"]
        args += [f"--{part}_shape_file", f"{where}/text_shape"]
    return [*args, "--resume", "true", "--ngpu", "0", *extra]
