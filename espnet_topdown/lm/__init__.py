"""AWD-LSTM language models for ESPnet2: corpus, model, stream of windows, NT-ASGD.

Loads without torch and ESPnet; `register` imports them.
"""


def register() -> None:
    """Add ``awd_lstm``, ``lm_stream``, ``nt_asgd`` and its trigger to ESPnet2's option tables.

    They become choices of ``--lm``, ``--model``, ``--optim`` and ``--scheduler``. Call it before a
    parser is built, and in every process that builds a model from a ``config.yaml`` with these
    names; calling it again changes nothing. Source: the plain dictionaries of
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
