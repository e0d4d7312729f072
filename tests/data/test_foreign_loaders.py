"""A stage in the loaders of other trainers: each really trains, and reads exactly what the plan says,
also when it resumes with different numbers of workers and hosts.
"""

import json

import numpy as np
import pytest
from support.built_run import built_run


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return built_run(tmp_path_factory.mktemp("loaders")).stage("init")


@pytest.fixture(scope="module")
def uniform(tmp_path_factory):
    """A stage whose batches all have four rows, as Hugging Face's Trainer wants them."""
    folder = tmp_path_factory.mktemp("uniform")
    return built_run(folder, batch_size="4").stage("init")


def planned(stage):
    """Every row of the stage, in order."""
    return stage[:]["inputs"]


def read_tokens(stage, source):
    """The consumed side of a ledger."""
    numbers = np.concatenate([np.asarray(part) for part in source])
    return {name: int((numbers == n).sum()) * stage.plan.seq_len for n, name in enumerate(stage.sources)}


def torch_loader(steps, first, workers):
    torch = pytest.importorskip("torch")
    return torch.utils.data.DataLoader(
        steps, batch_size=None, sampler=range(first, len(steps)), num_workers=workers
    )


class SmallModel:
    """An embedding and a readout, trained by torch."""

    def __init__(self):
        torch = pytest.importorskip("torch")
        self.functional = torch.nn.functional
        self.model = torch.nn.Sequential(torch.nn.Embedding(300, 8), torch.nn.Linear(8, 300))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def step(self, batch):
        logits = self.model(batch["inputs"])
        losses = self.functional.cross_entropy(
            logits.flatten(0, 1), batch["targets"].long().flatten(), reduction="none"
        )
        loss = (losses * batch["weights"].flatten()).sum() / batch["weights"].sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


@pytest.mark.optional("needs torch")
def test_torch_resumes_with_other_workers_and_hosts(stage):
    model = SmallModel()
    inputs, sources, losses = [], [], []
    hosts = [iter(torch_loader(stage.steps.of_host(host, 2), 0, workers=2)) for host in range(2)]
    for _ in range(3):
        for host in hosts:
            batch = next(host)
            losses.append(model.step(batch))
            inputs.append(batch["inputs"].numpy())
            sources.append(batch["source"])
    state = json.loads(json.dumps(stage.steps.state(3)))

    first = stage.steps.step_of(state)
    for batch in torch_loader(stage.steps, first, workers=3):
        losses.append(model.step(batch))
        inputs.append(batch["inputs"].numpy())
        sources.append(batch["source"])
    np.testing.assert_array_equal(np.concatenate(inputs), planned(stage))
    assert read_tokens(stage, sources) == stage.plan.planned_tokens()
    assert np.isfinite(losses).all()


@pytest.mark.optional("needs torch")
def test_torch_takes_rows_as_a_map_style_dataset(stage):
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(stage, batch_size=4, num_workers=2)
    batches = list(loader)
    inputs = np.concatenate([batch["inputs"].numpy() for batch in batches])
    np.testing.assert_array_equal(inputs, planned(stage))


@pytest.mark.optional("needs torch")
def test_torch_gets_the_arrays_without_a_copy(stage):
    torch = pytest.importorskip("torch")
    [batch] = torch.utils.data.DataLoader([stage.steps[2]], batch_size=None)
    array = stage.steps[2]["inputs"]
    assert torch.as_tensor(array).data_ptr() == array.ctypes.data
    assert batch["inputs"].shape == array.shape


def test_grain_resumes_by_its_own_state(stage):
    grain = pytest.importorskip("grain")
    assert isinstance(stage, grain.sources.RandomAccessDataSource)
    assert isinstance(stage.steps, grain.sources.RandomAccessDataSource)
    rows = grain.MapDataset.source(stage).to_iter_dataset(grain.ReadOptions(num_threads=2))
    reader = iter(rows)
    inputs = [next(reader)["inputs"] for _ in range(5)]
    state = json.loads(json.dumps(reader.get_state()))

    resumed = iter(grain.MapDataset.source(stage).to_iter_dataset(grain.ReadOptions(num_threads=0)))
    resumed.set_state(state)
    inputs += [row["inputs"] for row in resumed]
    np.testing.assert_array_equal(np.stack(inputs), planned(stage))


def test_a_grain_data_loader_with_processes_reads_the_ledger(stage):
    grain = pytest.importorskip("grain")
    parts = []
    for host in range(2):
        steps = stage.steps.of_host(host, 2)
        sampler = grain.samplers.SequentialSampler(len(steps))
        parts.append(list(grain.DataLoader(data_source=steps, sampler=sampler, worker_count=0)))
    sources = [np.concatenate([a["source"], b["source"]]) for a, b in zip(*parts, strict=True)]
    assert read_tokens(stage, sources) == stage.plan.planned_tokens()


@pytest.mark.optional("needs torch, transformers and accelerate")
@pytest.mark.parametrize("workers", [(0, 2), (2, 0)])
def test_the_trainer_of_transformers_reads_the_plan_and_resumes(uniform, tmp_path, workers):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    read = []

    class Noted(transformers.Trainer):
        def training_step(self, model, inputs, *args, **more):
            read.append(inputs["input_ids"][:, :-1].cpu().numpy())
            return super().training_step(model, inputs, *args, **more)

    def trainer(steps, workers):
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            train_sampling_strategy="sequential",
            per_device_train_batch_size=4,
            max_steps=steps,
            save_steps=3,
            dataloader_num_workers=workers,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        model = transformers.LlamaForCausalLM(config)
        return Noted(model=model, args=arguments, train_dataset=uniform.for_transformers())

    trainer(3, workers[0]).train()
    trainer(len(uniform.steps), workers[1]).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    np.testing.assert_array_equal(np.concatenate(read), planned(uniform))
