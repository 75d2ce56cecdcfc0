"""AWD-LSTM language models for ESPnet2: corpus, model, stream iterator, NT-ASGD, perplexity.

Loads without torch and ESPnet; `register` imports them.
"""


def register() -> None:
    """ESPnet2's option tables know the names of this package from now on.

    Calling it again changes nothing.

    Adds ``--lm awd_lstm``, ``--model lm_stream``, ``--optim nt_asgd`` and ``--scheduler
    nt_asgd_trigger``. Call it before a parser is built, and in every process that builds a model
    from a ``config.yaml`` with these names. Source: the plain dictionaries of
    espnet2/tasks/{lm,abs_task}.py (202511).
    """
    from espnet2.tasks import abs_task
    from espnet2.tasks import lm as lm_task

    from espnet_topdown.lm.awd_lstm import AWDLSTM
    from espnet_topdown.lm.nt_asgd import NTASGD, NTASGDTrigger
    from espnet_topdown.lm.stream_model import StreamLanguageModel

    lm_task.lm_choices.classes["awd_lstm"] = AWDLSTM
    lm_task.model_choices.classes["lm_stream"] = StreamLanguageModel
    abs_task.optim_classes["nt_asgd"] = NTASGD
    abs_task.scheduler_classes["nt_asgd_trigger"] = NTASGDTrigger
