"""Experts as low-rank adapters over one base: its weights are in memory once, and adapters are switched."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from denizen.engine.errors import InputError, reason
from denizen.engine.files import file_digest, files_below, json_digest, tree_digest
from denizen.retrievers.bi_encoder import BiEncoder
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.retriever import save_composite
from denizen.retrievers.routed import ROUTER, Routed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from denizen.retrievers.backends import Backend
    from denizen.retrievers.encoder import Encoder

# where the step that trains keeps adapters by themselves, in the folder of the model that they are folded into
ADAPTER = "adapter"
# where a retriever keeps those of its experts
ADAPTERS = "adapters"
# others export or fold what is not switched any more then
_ENCODING = Encoding(backend="torch", precision="fp32")


class SharedBase:
    """A model whose adapters are switched on one at a time; it is loaded when it is needed.

    Args:
        base: The model, as a bi-encoder.
    """

    def __init__(self, base: BiEncoder) -> None:
        self.base = base
        self._model: SentenceTransformer | None = None
        self._adapted: Any = None
        self._names: dict[Path, str] = {}

    def model(self, adapter: Path | None) -> SentenceTransformer:
        """The model with an adapter on; None: as it is.

        Raises:
            InputError: When PEFT is missing, or the adapter is of another model.
        """
        from denizen.retrievers.loading import load_encoder

        if self._model is None:
            self._model = load_encoder(self.base.folder)
        if adapter is not None:
            self._switch(self._model, adapter)
        elif self._adapted is not None:
            self._adapted.base_model.disable_adapter_layers()
        return self._model

    def _switch(self, model: Any, adapter: Path) -> None:
        try:
            from peft import PeftModel
        except ImportError:
            raise InputError("adapters need PEFT: pip install 'denizen[decoder]'") from None
        name = str(len(self._names))
        try:
            with warnings.catch_warnings():
                # PEFT asks transformers by names that are on their way out there
                warnings.simplefilter("ignore", FutureWarning)
                if self._adapted is None:
                    # in place: the modules of the model are those that adapters are put on
                    self._adapted = PeftModel.from_pretrained(model[0].auto_model, str(adapter), adapter_name=name)
                    self._names[adapter] = name
                elif adapter not in self._names:
                    self._adapted.load_adapter(str(adapter), adapter_name=name)
                    self._names[adapter] = name
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(
                f"the adapter in {adapter} does not fit the model ({reason(error)}); save the retriever anew"
            ) from error
        self._adapted.base_model.enable_adapter_layers()
        self._adapted.set_adapter(self._names[adapter])
        model.eval()

    def encoder(self, adapter: Path | None, digest: str) -> Encoder:
        """What embeds with an adapter on, through the store of embeddings of this machine."""
        from denizen.retrievers.encoder import Encoder

        shared = self

        class Switched(Encoder):
            def loaded(self, texts: Sequence[str]) -> tuple[SentenceTransformer, Backend]:
                found = super().loaded(texts)
                shared.model(adapter)
                return found

            def _loaded_model(self) -> SentenceTransformer:
                return shared.model(adapter)

        store = self.base.encoders.store
        return Switched(self.base.folder, store, backend=f"{_ENCODING.backend}-{_ENCODING.precision}", digest=digest)


@dataclass(frozen=True)
class Adapted(BiEncoder):
    """A bi-encoder that is a base with an adapter on; its folder is that of the base.

    Attributes:
        adapter: The folder of the adapter; None: the base itself.
        shared: The base, with whoever else is of it.
    """

    adapter: Path | None = field(default=None, compare=False)
    shared: SharedBase | None = field(default=None, compare=False)

    @classmethod
    def of(cls, shared: SharedBase, adapter: Path | None) -> Adapted:
        """A base with an adapter on."""
        base = shared.base
        digest = base.digest
        if adapter is not None:
            names = files_below(adapter)
            digest = json_digest([digest, tree_digest({name: file_digest(adapter / name) for name in names})])
        return cls(base.folder, _ENCODING, base.encoders, digest, base.dim, base.query_prompt, adapter, shared)

    def encoder_for(self, corpus: Sequence[str] = ()) -> Encoder:
        """What embeds with its adapter on."""
        if self.shared is None:
            raise TypeError("an adapter is on a base")
        return self.shared.encoder(self.adapter, self.digest)


@dataclass(frozen=True)
class RoutedAdapters(Routed):
    """A routed retriever whose experts are adapters of the general model, in memory once."""

    kind: ClassVar[str] = "routed-adapters"

    def save(self, folder: Path) -> None:
        """Writes the base, each adapter into `adapters`, and the router."""
        general, *experts = self.parts
        for name, part in zip(self.domains, experts, strict=True):
            if not isinstance(part, Adapted) or part.adapter is None:
                raise TypeError("an expert here is an adapter")
            shutil.copytree(part.adapter, folder / ADAPTERS / name, dirs_exist_ok=True)
        shutil.copytree(self.router, folder / ROUTER, dirs_exist_ok=True)
        settings = {"domains": list(self.domains), "everywhere": self.everywhere}
        save_composite(folder, self, settings, [general])


def routed_adapters(
    base: BiEncoder, adapters: Sequence[Path], domains: Sequence[str], router: Path, *, everywhere: bool
) -> RoutedAdapters:
    """The retriever from its base and the folders of its adapters, in the order of domains.

    Raises:
        InputError: When an adapter is missing.
    """
    missing = [path.name for path in adapters if not (path / "adapter_config.json").is_file()]
    if missing:
        raise InputError(f"there is no adapter of {', '.join(missing)}; save the retriever anew")
    shared = SharedBase(base)
    parts = (Adapted.of(shared, None), *(Adapted.of(shared, path) for path in adapters))
    return RoutedAdapters(parts, tuple(domains), router, everywhere)
