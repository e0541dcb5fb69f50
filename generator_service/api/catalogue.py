"""What there is to choose from, and how a plan is written."""

from collections import Counter
from typing import Any

from fastapi import APIRouter

from generator_service.api.parts import UseParts
from generator_service.contract.answers import BackboneList, BackboneView
from generator_service.contract.backbones import BACKBONES, DEFAULT_BACKBONE
from shared.plan import Plan

router = APIRouter(tags=["catalogue"])


@router.get("/backbones", summary="The video models")
def backbones(parts: UseParts) -> BackboneList:
    """Each with what it can do, what it does unless told otherwise, and how many workers hold it right now."""
    workers = Counter(worker.backbone for worker in parts.workers.alive())
    return BackboneList(
        backbones=tuple(
            BackboneView(spec=spec, is_default=spec.name == DEFAULT_BACKBONE, workers=workers[spec.name])
            for spec in BACKBONES.values()
        )
    )


@router.get("/schemas/plan", summary="The JSON schema of a plan")
def plan_schema() -> dict[str, Any]:
    """A plan must also make sense, which no schema can say: phases without gaps, boxes that fit their labels."""
    return Plan.model_json_schema()
