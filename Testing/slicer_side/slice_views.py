"""Offscreen slice views of the real application libraries, with simulated mouse and keyboard, for the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mrml
import numpy as np
import slicer
import vtk

DISPLAYABLE_MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
SIZE = (400, 300)


def prepare(application) -> None:
    """Crosshair, orientations and displayable managers, as the desktop application sets them up."""
    scene = slicer.mrmlScene
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(application)
    for name in DISPLAYABLE_MANAGERS:
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)


@dataclass
class OffscreenView:
    """One view; `first` gets every event before the application does, as the Segment Editor's observer has it."""

    node: object
    logic: object
    window: object
    renderer: object
    interactor: object
    kept: tuple
    first: Callable[[object, int], bool] | None = None

    def event(self, name: str) -> None:
        """Send an event to the effect, and to the application unless the effect consumed it."""
        event_id = getattr(vtk.vtkCommand, name)
        if self.first is None or not self.first(self.interactor, event_id):
            self.interactor.InvokeEvent(name)

    def move(self, x: int, y: int, shift: bool = False) -> None:
        self.interactor.SetEventInformation(int(x), int(y), 0, int(shift), chr(0), 0, None)
        self.event("MouseMoveEvent")

    def press(self, x: int, y: int, shift: bool = False) -> None:
        self.move(x, y, shift)
        self.event("LeftButtonPressEvent")

    def release(self, x: int, y: int, shift: bool = False) -> None:
        self.interactor.SetEventInformation(int(x), int(y), 0, int(shift), chr(0), 0, None)
        self.event("LeftButtonReleaseEvent")

    def click(self, x: int, y: int, shift: bool = False) -> None:
        """A left click at a display position (pixels from the lower left)."""
        self.press(x, y, shift)
        self.release(x, y, shift)

    def drag(self, *path: tuple[int, int]) -> None:
        """Press at the first position, move through the others, release at the last."""
        self.press(*path[0])
        for x, y in path[1:]:
            self.move(x, y)
        self.release(*path[-1])

    def key(self, symbol: str) -> None:
        x, y = self.interactor.GetEventPosition()
        self.interactor.SetEventInformation(x, y, 0, 0, chr(0), 0, symbol)
        self.event("KeyPressEvent")

    def display_position(self, world) -> tuple[int, int]:
        """Pixel that shows a world position."""
        matrix = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), matrix)
        x, y, _z, _w = matrix.MultiplyPoint((*world, 1.0))
        return round(x), round(y)

    def picture(self) -> np.ndarray:
        """What the view shows: RGB uint8 [rows, columns, 3], first row at the top."""
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        width, height, _ = image.GetDimensions()
        values = mrml.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        return values.reshape(height, width, -1)[::-1, :, :3]


def make_view(application, volume, name: str, orientation: str, through=None) -> OffscreenView:
    """A view of `volume` in `orientation` (Axial, Sagittal, Coronal), through a world position."""
    scene = slicer.mrmlScene
    node = scene.CreateNodeByClass("vtkMRMLSliceNode")
    node.UnRegister(None)
    node.SetName(name)
    node.SetLayoutName(name)
    node.SetSingletonTag(name)
    node = scene.AddNode(node)
    node.SetOrientation(orientation)
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(scene)
    logic.SetSliceNode(node)
    application.GetSliceLogics().AddItem(logic)
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    node.SetDimensions(*SIZE, 1)
    logic.FitSliceToAll(*SIZE)
    if through is not None:
        node.JumpSliceByOffsetting(*through)
    logic.UpdatePipeline()
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(*SIZE)
    renderer = vtk.vtkRenderer()
    window.AddRenderer(renderer)
    interactor = vtk.vtkRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    interactor.Initialize()
    interactor.UpdateSize(*SIZE)
    mapper = vtk.vtkImageMapper()
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    mapper.SetInputConnection(logic.GetImageDataConnection())
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    renderer.AddViewProp(actor)
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    managers = factory.InstantiateDisplayableManagers(renderer)
    managers.SetMRMLDisplayableNode(node)
    style = slicer.vtkMRMLSliceViewInteractorStyle()
    style.SetSliceLogic(logic)
    style.SetDisplayableManagers(managers)
    interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
    style.SetInteractor(interactor)
    window.Render()
    return OffscreenView(node, logic, window, renderer, interactor, (managers, style, mapper, actor))
